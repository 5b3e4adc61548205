//! The exchange's front door: the HTTP API, inference through the market, and the parts that make one process an
//! exchange. The binary `gollem` is a thin command line over this library.
//!
//! Invariants: JSON, decimals and names stop here, the core speaks integers; every route names its access in one table
//! ([`routes::ROUTES`]); an answer that says something happened is sent after it is durable; prompts and completions
//! are neither stored nor logged.

mod api;
mod app;
mod auth;
mod catalog;
mod connections;
mod cors;
pub mod demo;

mod endpoint;
mod error;
mod exchange;
mod idempotency;
mod identity;
mod inference;
mod keys;
mod limiter;
mod money;
mod openapi;
#[cfg_attr(not(test), expect(dead_code, reason = "until its routes use it"))]
mod payments;
mod recovering;
mod route;
pub mod routes;
mod secret;
mod server;
mod stream;
mod traffic;

pub use app::App;
pub use cors::parse_origin;
pub use error::ApiError;
pub use exchange::{Closed, Exchange, ExchangeOptions, Kafka, OpenError, TreeKey};
pub use identity::{Caller, Identity};
pub use keys::{ApiKey, Scopes};
pub use limiter::{Allowed, LimiterOptions, Tier};
pub use recovering::Recovering;
pub use secret::SecretError;
pub use server::Server;
pub use stream::SocketLimits;
