//! What tests share across crates: the whole-node simulation (`simulation`). The end-to-end tests over the public API are in
//! `tests/e2e`.

pub mod outcome;
pub mod simulation;
