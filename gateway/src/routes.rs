//! Every route in one table: method, path, who may call it and how large its body may be. The router is made from it
//! and nothing is reachable that is not in it.

use crate::api::{accounts, admin, market, metrics, orders, payments, providers};
use crate::app::App;
use crate::auth::{admit, discard};
use crate::error::ApiError;
use crate::inference;
use crate::keys::Scopes;
use axum::Router;
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::routing::{MethodRouter, delete, get, post, put};
use std::sync::Arc;

/// Who may call a route.
#[derive(Clone, Copy, Debug)]
pub enum Access {
    /// Anyone.
    Public,
    /// Keys with at least one of these scopes.
    Scoped(Scopes),
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
    handler: fn() -> MethodRouter<Arc<App>>,
}

/// Enough for an order.
const SMALL: usize = 4 * 1024;
/// Enough for a long prompt.
const PROMPT: usize = 1024 * 1024;

const READ: Access = Access::Scoped(Scopes::READ);
const TRADE: Access = Access::Scoped(Scopes::TRADE);
const PROVIDE: Access = Access::Scoped(Scopes::PROVIDE);
const EITHER_SIDE: Access = Access::Scoped(Scopes::TRADE.with(Scopes::PROVIDE));
const ADMIN: Access = Access::Scoped(Scopes::ADMIN);

const fn route(
    method: Method,
    path: &'static str,
    access: Access,
    body_bytes_max: usize,
    handler: fn() -> MethodRouter<Arc<App>>,
) -> Route {
    Route { method, path, access, body_bytes_max, handler }
}

/// The table.
pub const ROUTES: &[Route] = &[
    route(Method::GET, "/health", Access::Public, 0, || get(admin::health)),
    route(Method::GET, "/metrics", Access::Public, 0, || get(metrics::metrics)),
    route(Method::GET, "/v1/journal/head", Access::Public, 0, || get(metrics::tree_head)),
    route(Method::GET, "/v1/instruments", Access::Public, 0, || get(market::instruments)),
    route(Method::POST, "/v1/instruments", ADMIN, SMALL, || post(market::list_instrument)),
    route(Method::GET, "/v1/book/{instrument}", Access::Public, 0, || get(market::book)),
    route(Method::GET, "/api/orderbook/status", Access::Public, 0, || get(market::status)),
    route(Method::POST, "/v1/accounts", ADMIN, SMALL, || post(accounts::open)),
    route(Method::GET, "/v1/balance", READ, 0, || get(accounts::balance)),
    route(Method::GET, "/v1/transactions", READ, 0, || get(accounts::transactions)),
    route(Method::POST, "/v1/purchases", TRADE, SMALL, || post(payments::purchase)),
    route(Method::POST, "/v1/payouts", PROVIDE, SMALL, || post(payments::request_payout)),
    route(Method::POST, "/v1/payouts/{payout}/confirm", ADMIN, SMALL, || post(payments::confirm_payout)),
    route(Method::POST, "/v1/payouts/{payout}/fail", ADMIN, SMALL, || post(payments::fail_payout)),
    route(Method::POST, "/v1/orders", EITHER_SIDE, SMALL, || post(orders::place)),
    route(Method::GET, "/v1/orders", READ, 0, || get(orders::list)),
    route(Method::GET, "/v1/orders/{order}", READ, 0, || get(orders::show)),
    route(Method::DELETE, "/v1/orders/{order}", EITHER_SIDE, SMALL, || delete(orders::cancel)),
    route(Method::PUT, "/v1/provider", PROVIDE, SMALL, || put(providers::register)),
    route(Method::POST, "/api/provider/status", PROVIDE, SMALL, || post(providers::status)),
    route(Method::POST, "/v1/chat/completions", TRADE, PROMPT, || post(inference::chat_completions)),
    route(Method::POST, "/api/generate", TRADE, PROMPT, || post(inference::generate)),
    route(Method::GET, "/v1/admin/state", ADMIN, 0, || get(admin::state)),
];

/// The router over the table.
pub(crate) fn router(app: Arc<App>) -> Router {
    let mut router = Router::new();
    for route in ROUTES {
        let (shared, access, body_bytes_max) = (Arc::clone(&app), route.access, route.body_bytes_max);
        let admission =
            move |request: Request, next: Next| admit(Arc::clone(&shared), access, body_bytes_max, request, next);
        router = router.route(route.path, (route.handler)().route_layer(from_fn(admission)));
    }
    let unknown = |request: Request| async move {
        let message = format!("no such route: {} {}", request.method(), request.uri().path());
        discard(request.into_body()).await;
        ApiError::new(StatusCode::NOT_FOUND, "invalid_request_error", "route_not_found", message)
    };
    let wrong_method = |request: Request| async move {
        let message = format!("{} is not possible on {}", request.method(), request.uri().path());
        ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "invalid_request_error", "method_not_allowed", message)
    };
    router.fallback(unknown).method_not_allowed_fallback(wrong_method).with_state(app)
}
