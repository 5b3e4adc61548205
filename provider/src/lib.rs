//! The provider's side of GoLLeM.
//!
//! Three parts, which share nothing but the HTTP client:
//!
//! - [`mock`]: an OpenAI-compatible model server that makes up its tokens, for the demo, for load and for tests;
//! - [`agent`]: keeps one fresh ask on the exchange for one model server, and withdraws it when that server is gone;
//! - [`client`]: a small JSON client, which the agent speaks to the gateway with.
//!
//! The crate knows the gateway by its public HTTP API alone: no type of the engine or of the gateway appears here.
//! It speaks plain HTTP/1.1. TLS is the work of a proxy in front, and there is none for outgoing calls.

pub mod agent;
pub mod client;
mod hash;
pub mod mock;
