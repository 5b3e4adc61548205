//! Builds more programs where cargo built this one, with its profile: what is built already is used again.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where cargo built this program.
pub(crate) struct Target {
    folder: PathBuf,
    profile: &'static str,
    profile_folder: &'static str,
}

impl Target {
    /// # Errors
    /// When this program lies in no folder of cargo's.
    pub(crate) fn of_this_program() -> Result<Target, String> {
        let program = env::current_exe().map_err(|error| format!("finding this program: {error}"))?;
        // TARGET/PROFILE/deps/test-… or TARGET/PROFILE/program
        let folder = program.ancestors().skip(1).find(|folder| !folder.ends_with("deps"));
        let (profile, profile_folder) = match folder.and_then(Path::file_name).and_then(|name| name.to_str()) {
            Some("debug") => ("dev", "debug"),
            Some("release") => ("release", "release"),
            _ => return Err(format!("{} lies in no folder of a known profile", program.display())),
        };
        let folder = folder.and_then(Path::parent).ok_or("the profile's folder has no parent")?;
        Ok(Target { folder: folder.to_owned(), profile, profile_folder })
    }

    /// The folder that holds everything that cargo makes.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder of the programs.
    pub(crate) fn programs(&self) -> PathBuf {
        self.folder.join(self.profile_folder)
    }

    /// Runs `cargo build` with these arguments in the folder `workspace`, or one below it.
    ///
    /// # Errors
    /// With what cargo said, when it does not build.
    pub(crate) fn build(&self, workspace: impl AsRef<Path>, arguments: &[&str]) -> Result<(), String> {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into()));
        cargo.arg("build").args(arguments).args(["--profile", self.profile, "--target-dir"]).arg(&self.folder);
        let built = cargo.current_dir(workspace).output().map_err(|error| format!("running cargo: {error}"))?;
        if built.status.success() {
            Ok(())
        } else {
            Err(format!("cargo build: {}", String::from_utf8_lossy(&built.stderr)))
        }
    }
}
