//! What a check of the scoreboard found.

/// The result of one row, whether it ran in this process or against the real binary.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Cases that were tried: what a case is, the row says.
    pub cases: u64,
    /// One line for each case that broke its promise, with what repeats it.
    pub failures: Vec<String>,
    /// Why the row could not be tried here, if it could not.
    pub skipped: Option<String>,
}
