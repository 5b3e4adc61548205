//! What tests share across crates: the reliability scoreboard (`scoreboard`, run by the program `gollem-scoreboard`), its
//! checks against the real binaries (`real`) and the whole-node simulation (`simulation`). The end-to-end tests over the
//! public API are in `tests/e2e`.

pub mod outcome;
pub mod real;
pub mod scoreboard;
pub mod simulation;
