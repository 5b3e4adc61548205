//! What tests share across crates: the reliability scoreboard (`scoreboard`, run by the program `gollem-scoreboard`), its
//! checks against the real binaries (`real`) and the whole-node simulation (`simulation`). The end-to-end tests over the
//! public API are in `tests/e2e`.

mod fuzz;
mod mutate;
pub mod outcome;
pub mod real;
pub mod scoreboard;
pub mod signer;
pub mod simulation;
mod target;

/// The commands with which the engine is compared with its naive twin.
#[expect(clippy::expect_used, reason = "written for tests")]
#[path = "../../engine/tests/twin/commands.rs"]
mod twin_commands;
