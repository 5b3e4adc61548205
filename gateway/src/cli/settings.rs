//! Where a setting's value comes from: a flag, else the environment, else a file, else its default. Each has one name:
//! `--snapshot-mib`, `GOLLEM_SNAPSHOT_MIB`, `snapshot-mib = 512`. A variable that is empty counts as not set. Secrets are no
//! settings: they come from the environment or from files of their own.
//!
//! The file's values become flags in front of those that were given, so that they are checked by the same rules and told
//! about in the same words.

use clap::{Arg, ArgAction, Command};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// The flag that names the file.
const FILE: &str = "config";

/// Why the settings cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum SettingsError {
    /// There is no such file, or it cannot be read.
    #[error("cannot read the settings in {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("the settings in {} are not TOML: {source}", path.display())]
    Toml {
        /// The file.
        path: PathBuf,
        /// What is wrong and where.
        source: toml::de::Error,
    },
    /// The file names a setting that there is not.
    #[error("{}: there is no setting `{name}`; there are: {known}", path.display())]
    Unknown {
        /// The file.
        path: PathBuf,
        /// What it names.
        name: String,
        /// What it may name.
        known: String,
    },
    /// The value has a form that no setting has.
    #[error("{}: `{name}` must be a text, a number, or true or false", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// Which setting.
        name: String,
    },
}

/// The command with every setting open to the environment, but for variables that are empty.
pub(super) fn with_environment(command: Command) -> Command {
    open_to(command, |variable| std::env::var_os(variable).is_some_and(|value| value.is_empty()))
}

fn open_to(command: Command, is_empty: impl Fn(&str) -> bool) -> Command {
    let names: Vec<String> = command.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    names.into_iter().fold(command, |command, name| {
        command.mut_subcommand(name, |subcommand| {
            subcommand.args_override_self(true).mut_args(|arg| match variable(&arg) {
                Some(variable) if is_empty(&variable) => arg.env(None::<&str>),
                Some(variable) => arg.env(variable),
                None => arg,
            })
        })
    })
}

/// The arguments with those of the settings file, if one is named, behind the subcommand and in front of the others.
pub(super) fn with_file(command: &Command, arguments: Vec<OsString>) -> Result<Vec<OsString>, SettingsError> {
    let Some((subcommand, path)) = file_of(command, &arguments) else {
        return Ok(arguments);
    };
    let read = std::fs::read_to_string(&path);
    let text = read.map_err(|source| SettingsError::Read { path: path.clone(), source })?;
    let settings = text.parse().map_err(|source| SettingsError::Toml { path: path.clone(), source })?;
    let mut from_file = flags(subcommand, &path, &settings, is_set)?;
    // A flag that may come several times would add to the file's instead of taking its place.
    from_file.retain(|flag| !arguments.iter().any(|given| is_same_flag(flag, given)));
    let mut arguments = arguments.into_iter();
    // The program, the subcommand, what the file says, the rest.
    let mut all: Vec<OsString> = arguments.by_ref().take(2).collect();
    all.extend(from_file.into_iter().map(OsString::from));
    all.extend(arguments);
    Ok(all)
}

fn is_set(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| !value.is_empty())
}

/// Whether both set the same: `--name=value` and `--name` or `--name=other`.
fn is_same_flag(flag: &str, given: &OsStr) -> bool {
    let name = |text: &str| text.split('=').next().map(str::to_owned);
    given.to_str().is_some_and(|given| name(given) == name(flag))
}

/// The subcommand and its settings file, as far as can be told from arguments that may be wrong.
fn file_of<'a>(command: &'a Command, arguments: &[OsString]) -> Option<(&'a Command, PathBuf)> {
    let subcommand = command.find_subcommand(arguments.get(1)?)?;
    let given = command.clone().ignore_errors(true).try_get_matches_from(arguments).ok()?;
    let (_, given) = given.subcommand()?;
    let path = given.try_get_one::<PathBuf>(FILE).ok().flatten()?;
    Some((subcommand, path.clone()))
}

/// The settings of a file as flags, but for those that the environment has.
fn flags(
    command: &Command,
    path: &Path,
    settings: &toml::Table,
    is_set: impl Fn(&str) -> bool,
) -> Result<Vec<String>, SettingsError> {
    let mut flags = Vec::new();
    for (name, value) in settings {
        let arg = settings_of(command).find(|arg| arg.get_long() == Some(name) && name != FILE);
        let Some(arg) = arg else {
            let known: Vec<&str> =
                settings_of(command).filter_map(Arg::get_long).filter(|name| *name != FILE).collect();
            return Err(SettingsError::Unknown { path: path.into(), name: name.clone(), known: known.join(", ") });
        };
        if variable(arg).is_some_and(|variable| is_set(&variable)) {
            continue;
        }
        match value {
            toml::Value::Boolean(on) if matches!(arg.get_action(), ArgAction::SetTrue) => {
                flags.extend(on.then(|| format!("--{name}")));
            }
            toml::Value::String(text) => flags.push(format!("--{name}={text}")),
            toml::Value::Integer(number) => flags.push(format!("--{name}={number}")),
            toml::Value::Float(number) => flags.push(format!("--{name}={number}")),
            _ => return Err(SettingsError::Value { path: path.into(), name: name.clone() }),
        }
    }
    Ok(flags)
}

/// The arguments that are settings: all with a long name, but those that clap adds.
fn settings_of(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|arg| arg.get_long().is_some() && !is_claps_own(arg))
}

fn is_claps_own(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong | ArgAction::Version)
}

/// The environment variable of a setting: what its definition says, else its long name in capitals.
fn variable(arg: &Arg) -> Option<String> {
    if is_claps_own(arg) {
        return None;
    }
    let given = arg.get_env().map(|name| name.to_string_lossy().into_owned());
    given.or_else(|| arg.get_long().map(|long| format!("GOLLEM_{}", long.replace('-', "_").to_uppercase())))
}

/// The table of a command's settings, in Markdown.
#[cfg(test)]
fn table(command: &Command) -> String {
    let mut table =
        String::from("| flag, key in the file | environment | default | what it says |\n|---|---|---|---|\n");
    for arg in settings_of(command) {
        let value = arg.get_value_names().filter(|_| arg.get_action().takes_values());
        let value = value.map(|names| format!(" {}", names.join(" "))).unwrap_or_default().replace('|', "\\|");
        let default: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        let default = if arg.get_action().takes_values() { default.join(" ") } else { String::new() };
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default().replace('|', "\\|");
        let long = arg.get_long().unwrap_or_default();
        let variable = variable(arg).unwrap_or_default();
        table.push_str(&format!("| `--{long}{value}` | `{variable}` | {default} | {help} |\n"));
    }
    table
}

#[cfg(test)]
mod tests {
    use super::super::Cli;
    use super::*;
    use clap::{CommandFactory, Parser};
    use std::fs;

    fn serve() -> Command {
        let command = with_environment(Cli::command());
        command.find_subcommand("serve").unwrap().clone()
    }

    fn from_file(text: &str, environment: &[&str]) -> Result<Vec<String>, SettingsError> {
        flags(&serve(), Path::new("gollem.toml"), &text.parse().unwrap(), |name| environment.contains(&name))
    }

    #[test]
    fn the_file_gives_way_to_the_environment_and_that_to_a_flag() {
        let text = "listen = \"127.0.0.1:1\"\ndev = true\nsnapshot-mib = 3\n";
        let mut all = from_file(text, &[]).unwrap();
        all.sort();
        assert_eq!(all, ["--dev", "--listen=127.0.0.1:1", "--snapshot-mib=3"]);
        assert_eq!(from_file(text, &["GOLLEM_LISTEN", "GOLLEM_DEV"]).unwrap(), ["--snapshot-mib=3"]);
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("gollem.toml");
        fs::write(&file, text).unwrap();
        let given = ["gollem", "serve", "--config", file.to_str().unwrap(), "--snapshot-mib", "5"];
        let command = with_environment(Cli::command());
        let all = with_file(&command, given.map(OsString::from).to_vec()).unwrap();
        let matches = command.try_get_matches_from(all).unwrap();
        let serve = matches.subcommand_matches("serve").unwrap();
        assert_eq!(serve.get_one::<u32>("snapshot_mib"), Some(&5), "the flag");
        assert_eq!(serve.get_one::<String>("listen").unwrap(), "127.0.0.1:1", "the file");
    }

    #[test]
    fn what_is_no_setting_or_has_no_value_that_one_may_have_is_named() {
        let unknown = from_file("admin-key = \"sk\"", &[]).unwrap_err().to_string();
        assert!(unknown.starts_with("gollem.toml: there is no setting `admin-key`; there are: data, "), "{unknown}");
        for (bad, named) in [("listen = [1]", "listen"), ("[listen]\nx = 1", "listen"), ("config = \"x\"", "config")] {
            let error = from_file(bad, &[]).unwrap_err().to_string();
            assert!(error.contains(&format!("`{named}`")), "{error}");
        }
    }

    #[test]
    fn a_file_that_is_missing_or_no_toml_is_named() {
        let command = with_environment(Cli::command());
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("gollem.toml");
        let read = || {
            let given = ["gollem", "serve", "--config", file.to_str().unwrap()];
            with_file(&command, given.map(OsString::from).to_vec()).unwrap_err().to_string()
        };
        assert!(read().starts_with("cannot read the settings in "), "{}", read());
        fs::write(&file, "listen = ").unwrap();
        assert!(read().contains("gollem.toml are not TOML"), "{}", read());
    }

    #[test]
    fn every_command_line_of_before_still_parses_without_a_file() {
        let command = with_environment(Cli::command());
        let given = ["gollem", "serve", "--dev"].map(OsString::from).to_vec();
        assert_eq!(with_file(&command, given.clone()).unwrap(), given);
        assert!(Cli::try_parse_from(given).is_ok());
    }

    #[test]
    fn the_documented_table_is_what_the_program_takes() {
        let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md")).unwrap();
        let expected = table(&serve());
        assert!(page.contains(&expected), "docs/configuration.md must hold this table:\n{expected}");
    }
}
