//! Secrets from outside: an environment variable, or the file that `<VARIABLE>_FILE` names. Never a flag, which every
//! process on the machine can read, and never a settings file, which people copy.

use std::ffi::OsString;
use std::path::PathBuf;
/// Why a secret that was named cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file that is to hold it cannot be read.
    #[error("{variable} names the file {}, which cannot be read: {source}", path.display())]
    Read {
        /// What names the file.
        variable: String,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is given twice, and which of them is meant nobody can tell.
    #[error("{0} and {0}_FILE are both set: set one of them")]
    Twice(String),
    /// It is no text.
    #[error("{0} is not in UTF-8")]
    NoText(String),
}

/// The secret of that name, without a last line end; `None` when nothing or an empty text is given. An empty variable counts
/// as one that is not set.
///
/// # Errors
/// See [`SecretError`].
pub(crate) fn secret(variable: &str) -> Result<Option<String>, SecretError> {
    find(variable, |name| std::env::var_os(name))
}

/// The operator's key, `GOLLEM_ADMIN_KEY`.
///
/// # Errors
/// See [`SecretError`].
pub fn operator_key() -> Result<Option<String>, SecretError> {
    secret("GOLLEM_ADMIN_KEY")
}

fn find(variable: &str, environment: impl Fn(&str) -> Option<OsString>) -> Result<Option<String>, SecretError> {
    let set = |name: &str| environment(name).filter(|value| !value.is_empty());
    let file = format!("{variable}_FILE");
    match (set(variable), set(&file)) {
        (Some(_), Some(_)) => Err(SecretError::Twice(variable.to_owned())),
        (Some(given), None) => given.into_string().map(Some).map_err(|_| SecretError::NoText(variable.to_owned())),
        (None, Some(path)) => from_file(file, path.into()),
        (None, None) => Ok(None),
    }
}

fn from_file(variable: String, path: PathBuf) -> Result<Option<String>, SecretError> {
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()).filter(|text| !text.is_empty())),
        Err(source) => Err(SecretError::Read { variable, path, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_in_a_file_loses_its_last_line_end_only_and_a_missing_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let read = || from_file("X_FILE".into(), path.clone());
        let error = read().unwrap_err().to_string();
        assert!(error.starts_with("X_FILE names the file ") && error.contains("key, which cannot be read"), "{error}");
        std::fs::write(&path, " a b\r\n").unwrap();
        assert_eq!(read().unwrap().as_deref(), Some(" a b"));
        std::fs::write(&path, "\n").unwrap();
        assert_eq!(read().unwrap(), None);
    }

    #[test]
    fn an_empty_variable_counts_as_not_set_and_both_set_are_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "of the file\n").unwrap();
        let path = file.path().to_str().unwrap();
        let read = |given: Option<&str>, file: Option<&str>| {
            let value = |name: &str| if name == "X" { given } else { file.filter(|_| name == "X_FILE") };
            find("X", |name| value(name).map(OsString::from)).map_err(|error| error.to_string())
        };
        for nothing in [None, Some("")] {
            assert_eq!(read(nothing, Some(path)), Ok(Some("of the file".into())));
            assert_eq!(read(Some("given"), nothing), Ok(Some("given".into())));
            assert_eq!(read(nothing, nothing), Ok(None));
        }
        assert_eq!(read(Some("given"), Some(path)), Err("X and X_FILE are both set: set one of them".into()));
    }
}
