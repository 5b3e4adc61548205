//! Where the binaries are. Cargo builds no other package's binaries for a test, so the first call does, with the profile
//! that the caller was built with.

use super::{Checked, doing, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The copy of `gollem` that has crash points.
const WITH_CRASH_POINTS: &str = "gollem-with-crash-points";

/// The binaries.
#[derive(Clone, Debug)]
pub(super) struct Binaries {
    pub(super) gollem: PathBuf,
    pub(super) replay: PathBuf,
}

impl Binaries {
    /// Those that people run.
    pub(super) fn ordinary() -> Checked<Binaries> {
        let folder = built()?;
        Ok(Binaries { gollem: folder.join("gollem"), replay: folder.join("gollem-replay") })
    }

    /// The same with a `gollem` that can be told to kill itself.
    pub(super) fn with_crash_points() -> Checked<Binaries> {
        Ok(Binaries { gollem: built()?.join(WITH_CRASH_POINTS), ..Binaries::ordinary()? })
    }
}

/// Builds everything once and returns its folder. In a target folder of its own the binary with crash points would cost
/// a build of every dependency. So it is built in the place of the ordinary one and copied, before the ordinary one takes
/// its place again and anybody starts it.
fn built() -> Checked<PathBuf> {
    static BUILT: OnceLock<Checked<PathBuf>> = OnceLock::new();
    let build = || {
        let target = Target::of_this_program()?;
        let folder = target.folder.join(target.profile_folder);
        target.build(&["--bin", "gollem", "-p", "gollem-gateway", "--features", "crash-points"])?;
        let copy = folder.join(WITH_CRASH_POINTS);
        std::fs::copy(folder.join("gollem"), &copy).map_err(doing(format!("copying to {}", copy.display())))?;
        target.build(&["--bins", "-p", "gollem-gateway", "-p", "gollem-replay"])?;
        Ok(folder)
    };
    BUILT.get_or_init(build).clone()
}

/// Where cargo built this program.
struct Target {
    folder: PathBuf,
    profile: &'static str,
    profile_folder: &'static str,
}

impl Target {
    fn of_this_program() -> Checked<Target> {
        let program = std::env::current_exe().map_err(doing("finding this program"))?;
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

    fn build(&self, arguments: &[&str]) -> Checked<()> {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into()));
        cargo.arg("build").args(arguments).args(["--profile", self.profile, "--target-dir"]).arg(&self.folder);
        let built = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().map_err(doing("running cargo"))?;
        ensure(built.status.success(), || format!("cargo build: {}", String::from_utf8_lossy(&built.stderr)))
    }
}
