//! What tests share across crates: the reliability scoreboard (`scoreboard`, run by the program `gollem-scoreboard`).
//! The end-to-end tests over the public API and the real binaries are in `tests/e2e`.

pub mod outcome;
pub mod scoreboard;
