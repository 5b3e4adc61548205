//! What a route is: the facts that router, limiter and the tests of access read from the table.

use crate::app::App;
use crate::keys::Scopes;
use axum::http::Method;
use axum::routing::MethodRouter;
use std::sync::Arc;

/// Who may call a route.
#[derive(Clone, Copy, Debug)]
pub enum Access {
    /// Anyone.
    Public,
    /// Keys with at least one of these scopes.
    Scoped(Scopes),
}

/// Which allowance a call is taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bucket {
    /// The tier's requests.
    Ordinary,
    /// Cancels only, so that risk can be taken down when the other is used up.
    Cancel,
}

/// One route.
#[derive(Debug)]
pub struct Route {
    /// Its method.
    pub method: Method,
    /// Its path; `{x}` is a parameter.
    pub path: &'static str,
    /// Who may call it.
    pub access: Access,
    /// Largest body in bytes.
    pub body_bytes_max: usize,
    /// As how many requests a call counts.
    pub weight: u32,
    /// What they are taken from.
    pub bucket: Bucket,
    pub(crate) handler: fn() -> MethodRouter<Arc<App>>,
}

/// A route that counts as one ordinary request.
pub(crate) const fn route(
    method: Method,
    path: &'static str,
    access: Access,
    body_bytes_max: usize,
    handler: fn() -> MethodRouter<Arc<App>>,
) -> Route {
    Route { method, path, access, body_bytes_max, weight: 1, bucket: Bucket::Ordinary, handler }
}

impl Route {
    /// The same route, a call of which counts as so many requests.
    pub(crate) const fn weight(mut self, weight: u32) -> Route {
        self.weight = weight;
        self
    }

    /// The same route, taken from the allowance for cancels.
    pub(crate) const fn cancels(mut self) -> Route {
        self.bucket = Bucket::Cancel;
        self
    }
}
