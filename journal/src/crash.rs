//! Crash points: named places in the code at which a test has the process killed.
//!
//! With the feature `crash-points` a process that was started with `GOLLEM_CRASH_AT=name`, or `name:N`, kills itself by
//! SIGKILL when it passes the point of that name for the first, or N-th, time: no destructor runs, nothing is flushed.
//! Without the feature a point is no code at all, so that callers need no condition.
//!
//! Each name stands at one place. A crate that has points lists their names and gives its list to
//! [`arm_crash_points!`](crate::arm_crash_points) before the first point is passed, which is when a journal is opened. A
//! name that is in no list stops the process there and then with a message: a misspelt test does not pass.
//!
//! Killing a process does not test what a power cut loses, for the page cache survives it: that is `sim`.

#[cfg(feature = "crash-points")]
mod armed;

#[cfg(feature = "crash-points")]
pub use armed::{CRASH_POINTS, arm, pass};

/// Marks a place at which a test may kill the process: `crash_point!("append.written")`.
#[cfg(feature = "crash-points")]
#[macro_export]
macro_rules! crash_point {
    ($name:literal) => {
        $crate::crash::pass($name)
    };
}

/// Marks a place at which a test may kill the process; nothing without the feature `crash-points`.
#[cfg(not(feature = "crash-points"))]
#[macro_export]
macro_rules! crash_point {
    ($name:literal) => {};
}

/// Reads `GOLLEM_CRASH_AT`, which may name a point of the journal or of the lists given.
#[cfg(feature = "crash-points")]
#[macro_export]
macro_rules! arm_crash_points {
    ($($list:expr),* $(,)?) => {
        $crate::crash::arm(&[$($list),*])
    };
}

/// Reads `GOLLEM_CRASH_AT`; nothing without the feature `crash-points`.
#[cfg(not(feature = "crash-points"))]
#[macro_export]
macro_rules! arm_crash_points {
    ($($list:expr),* $(,)?) => {};
}
