//! Where the binaries are. Cargo builds no other package's binaries for a test, so the first call does, with the profile
//! that the caller was built with.

use super::{Checked, doing};
use crate::target::Target;
use std::path::PathBuf;
use std::sync::OnceLock;

/// A folder of this workspace.
const HERE: &str = env!("CARGO_MANIFEST_DIR");
/// The copy of `gollem` that has crash points.
const WITH_CRASH_POINTS: &str = "gollem-with-crash-points";

/// The binaries.
#[derive(Clone, Debug)]
pub(super) struct Binaries {
    pub(super) gollem: PathBuf,
    pub(super) replay: PathBuf,
    pub(super) projector: PathBuf,
}

impl Binaries {
    /// Those that people run.
    pub(super) fn ordinary() -> Checked<Binaries> {
        let folder = built()?;
        let [gollem, replay, projector] = ["gollem", "gollem-replay", "gollem-projector"].map(|name| folder.join(name));
        Ok(Binaries { gollem, replay, projector })
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
        let folder = target.programs();
        target.build(HERE, &["--bin", "gollem", "-p", "gollem-gateway", "--features", "crash-points"])?;
        let (copy, fresh) = (folder.join(WITH_CRASH_POINTS), folder.join(format!("{WITH_CRASH_POINTS}.new")));
        // In two steps: an older one may be running.
        let copied = std::fs::copy(folder.join("gollem"), &fresh).and_then(|_| std::fs::rename(&fresh, &copy));
        copied.map_err(doing(format!("copying to {}", copy.display())))?;
        target.build(HERE, &["--bins", "-p", "gollem-gateway", "-p", "gollem-replay", "-p", "gollem-projections"])?;
        Ok(folder)
    };
    BUILT.get_or_init(build).clone()
}
