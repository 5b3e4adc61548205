//! The provider's side of GoLLeM.
//!
//! Three parts, which share nothing but the HTTP client and the way of accepting connections:
//!
//! - [`mock`]: an OpenAI-compatible model server that makes up its tokens, for the demo, for load and for tests;
//! - [`agent`]: keeps one ask on the exchange for one model server, at a price that follows a policy, and stands between
//!   the gateway and that server if it is told to;
//! - [`client`]: a small JSON client, which the agent speaks to the gateway with.
//!
//! The crate knows the gateway by its public HTTP API alone: no type of the engine or of the gateway appears here.
//! It speaks plain HTTP/1.1. TLS is the work of a proxy in front, and there is none for outgoing calls.

pub mod agent;
pub mod client;
mod hash;
pub mod mock;
mod server;
