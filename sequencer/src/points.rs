//! The crash points of this crate; see [`gollem_journal::crash`].

/// In the order in which a batch passes them.
pub const CRASH_POINTS: &[&str] = &[
    "matcher.sealed",
    "committer.received",
    "committer.durable",
    "committer.advanced",
    "committer.answered",
    "committer.fed",
];
