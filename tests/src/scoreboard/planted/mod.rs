//! stub
pub(crate) const BUGS: u64 = 20;
pub(crate) fn run(_run: &super::Run) -> crate::outcome::Outcome { crate::outcome::Outcome::default() }
