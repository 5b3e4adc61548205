//! Every route in one table: method, path, who may call it, how large its body may be, what a call counts. The router is
//! made from it and nothing is reachable that is not in it.

use crate::api::{
    accounts, admin, guard_rails, health, keys, market, metrics, orders, payments, people, providers, queries, quote,
    receipts,
};
use crate::app::App;
use crate::auth::{admit, turn_away};
use crate::cors;
use crate::error::ApiError;
use crate::idempotency;
use crate::inference::{self, Surface, in_its_words, is_told_in_anthropic_s_words};
use crate::keys::Scopes;
use crate::openapi;
use crate::route::route;
use crate::stream;
use crate::traffic::measure;
use axum::Router;
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn, map_response};
use axum::response::Response;
use axum::routing::{delete, get, post, put};
use std::sync::Arc;

pub use crate::route::{Access, Bucket, Route};

/// Enough for an order.
const SMALL: usize = 4 * 1024;
/// Enough for a batch of orders.
const BATCH: usize = 64 * 1024;
/// Enough for a processor's notice of anything.
const NOTICE: usize = 256 * 1024;
/// Enough for a long prompt with images.
const PROMPT: usize = 4 * 1024 * 1024;

/// Keys that read, about their own account; an operator about any.
const READ: Access = Access::Scoped(Scopes::READ.with(Scopes::ADMIN));
const TRADE: Access = Access::Scoped(Scopes::TRADE);
const PROVIDE: Access = Access::Scoped(Scopes::PROVIDE);
const EITHER_SIDE: Access = Access::Scoped(Scopes::TRADE.with(Scopes::PROVIDE));
/// A quote changes nothing.
const QUOTE: Access = Access::Scoped(Scopes::READ.with(Scopes::TRADE));
const WITHDRAW: Access = Access::Scoped(Scopes::WITHDRAW);
const ADMIN: Access = Access::Scoped(Scopes::ADMIN);
/// Keys that do more than read: they make, replace and revoke keys that may do no more than themselves.
const MANAGE: Access = Access::Scoped(Scopes::TRADE.with(Scopes::PROVIDE).with(Scopes::WITHDRAW).with(Scopes::ADMIN));
/// Any key or session.
const ANY: Access = Access::Scoped(Scopes::ALL);

/// A route to one of [`gollem_projections::queries::QUERIES`].
const fn query(path: &'static str, access: Access) -> Route {
    route(Method::GET, path, access, 0, || get(queries::answer))
}

/// The table.
pub const ROUTES: &[Route] = &[
    route(Method::GET, "/health", Access::Public, 0, || get(health::health)),
    route(Method::GET, "/health/live", Access::Public, 0, || get(health::live)),
    route(Method::GET, "/health/ready", Access::Public, 0, || get(health::ready)),
    route(Method::GET, "/metrics", Access::Public, 0, || get(metrics::metrics)).weight(20),
    route(Method::GET, "/openapi.json", Access::Public, 0, || get(openapi::json)),
    route(Method::GET, "/docs", Access::Public, 0, || get(openapi::page)),
    route(Method::GET, "/v1/journal/head", Access::Public, 0, || get(metrics::tree_head)),
    route(Method::GET, "/v1/journal/key", Access::Public, 0, || get(receipts::key)),
    query("/v1/instruments", Access::Public),
    query("/v1/instruments/{instrument}", Access::Public),
    query("/v1/book/{instrument}", Access::Public),
    query("/v1/trades/{instrument}", Access::Public),
    query("/v1/candles/{instrument}", Access::Public),
    query("/v1/index", Access::Public),
    query("/v1/index/{model}", Access::Public),
    query("/api/orderbook/status", Access::Public),
    query("/v1/models", Access::Public).weight(5),
    query("/v1/models/stats", Access::Public).weight(5),
    query("/v1/models/recommend", Access::Public).weight(5),
    query("/v1/models/{model}", Access::Public),
    query("/v1/models/{model}/stats", Access::Public),
    query("/v1/providers/{account}/scorecard", READ),
    query("/api/provider/circuit", READ),
    query("/api/provider/ratelimit", READ),
    query("/api/provider/latency", READ),
    query("/api/provider/status", READ),
    query("/v1/payouts", READ),
    query("/v1/balance", READ),
    query("/v1/transactions", READ),
    query("/v1/guardrails/spending", READ),
    query("/v1/orders", READ),
    query("/v1/orders/{order}", READ),
    query("/v1/fills", READ),
    query("/v1/holds", READ),
    query("/v1/contracts", READ),
    query("/v1/contracts/{contract}", READ),
    query("/v1/deliveries", READ),
    route(Method::GET, "/v1/receipts/{contract}", READ, 0, || get(receipts::receipt)),
    query("/v1/usage", READ),
    query("/v1/usage/export", READ),
    query("/v1/analytics", READ),
    route(Method::POST, "/v1/instruments", ADMIN, SMALL, || post(market::list_instrument)),
    route(Method::PUT, "/v1/instruments/{instrument}/state", ADMIN, SMALL, || put(market::set_state)),
    route(Method::PUT, "/v1/instruments/{instrument}/reference-price", ADMIN, SMALL, || {
        put(market::set_reference_price)
    }),
    route(Method::POST, "/v1/accounts", ADMIN, SMALL, || post(accounts::open)),
    route(Method::GET, "/v1/accounts/{account}", READ, 0, || get(accounts::view)),
    route(Method::PUT, "/v1/accounts/{account}/credit-policy", ADMIN, SMALL, || put(accounts::set_credit_policy)),
    route(Method::GET, "/v1/admin/guardrails/{account}", ADMIN, 0, || get(guard_rails::view)),
    route(Method::PUT, "/v1/admin/guardrails/{account}", ADMIN, SMALL, || put(guard_rails::set)),
    route(Method::POST, "/v1/admin/guardrails/{account}/reset", ADMIN, SMALL, || post(guard_rails::reset)),
    route(Method::PUT, "/v1/payouts/policy", PROVIDE, SMALL, || put(payments::set_payout_policy)),
    route(Method::PUT, "/v1/accounts/{account}/tier", ADMIN, SMALL, || put(accounts::set_tier)),
    route(Method::GET, "/v1/rate-limit", ANY, 0, || get(accounts::rate_limit)),
    route(Method::GET, "/v1/keys", ANY, 0, || get(keys::list)),
    route(Method::POST, "/v1/keys", MANAGE, SMALL, || post(keys::make)).weight(5),
    route(Method::DELETE, "/v1/keys/{key}", MANAGE, 0, || delete(keys::revoke)),
    route(Method::POST, "/v1/keys/{key}/rotate", MANAGE, SMALL, || post(keys::rotate)).weight(5),
    route(Method::GET, "/v1/keys/{key}/limits", ANY, 0, || get(keys::limits)),
    route(Method::PUT, "/v1/keys/{key}/limits", MANAGE, SMALL, || put(keys::set_limits)),
    route(Method::POST, "/api/v1/auth/register", Access::Public, SMALL, || post(people::register)).weight(20),
    route(Method::POST, "/api/v1/auth/login", Access::Public, SMALL, || post(people::log_in)).weight(20),
    route(Method::POST, "/api/v1/auth/logout", MANAGE, 0, || post(people::log_out)),
    route(Method::POST, "/api/v1/auth/apikey", MANAGE, SMALL, || post(people::make_key)).weight(5),
    route(Method::GET, "/api/v1/auth/sessions", MANAGE, 0, || get(people::sessions)),
    route(Method::DELETE, "/api/v1/auth/sessions/{session}", MANAGE, 0, || delete(people::end_session)),
    route(Method::POST, "/v1/purchases", TRADE, SMALL, || post(payments::purchase)),
    route(Method::POST, "/v1/payouts", WITHDRAW, SMALL, || post(payments::request_payout)),
    route(Method::POST, "/v1/payouts/{payout}/send", ADMIN, SMALL, || post(payments::send_payout)),
    route(Method::POST, "/v1/payouts/{payout}/confirm", ADMIN, SMALL, || post(payments::confirm_payout)),
    route(Method::POST, "/v1/payouts/{payout}/fail", ADMIN, SMALL, || post(payments::fail_payout)),
    route(Method::POST, "/webhooks/stripe", Access::Public, NOTICE, || post(payments::webhook::take)),
    route(Method::POST, "/api/payments/create-intent", TRADE, SMALL, || post(payments::intents::create)).weight(10),
    route(Method::GET, "/api/payments/balance", READ, 0, || get(payments::intents::balance)),
    route(Method::GET, "/api/payments/transactions", READ, 0, || get(payments::intents::transactions)),
    route(Method::GET, "/api/payments/sessions", READ, 0, || get(payments::intents::sessions)),
    route(Method::PUT, "/api/payments/auto-renew", TRADE, SMALL, || put(payments::settings::set_auto_renew)),
    route(Method::PUT, "/api/payments/alerts", EITHER_SIDE, SMALL, || put(payments::settings::set_alert)),
    route(Method::POST, "/api/payments/onboarding", PROVIDE, SMALL, || post(payments::settings::onboard)).weight(10),
    route(Method::POST, "/v1/admin/refunds", ADMIN, SMALL, || post(payments::admin::refund)),
    route(Method::GET, "/v1/admin/outbox", ADMIN, 0, || get(payments::admin::letters)),
    route(Method::POST, "/v1/admin/outbox/{letter}/retry", ADMIN, SMALL, || post(payments::admin::retry)),
    route(Method::POST, "/v1/admin/outbox/{letter}/dismiss", ADMIN, SMALL, || post(payments::admin::dismiss)),
    route(Method::POST, "/v1/admin/reconcile", ADMIN, SMALL, || post(payments::admin::reconcile)).weight(100),
    route(Method::POST, "/v1/quote", QUOTE, SMALL, || post(quote::quote)).weight(10),
    route(Method::POST, "/v1/quotes/{lock}/use", TRADE, SMALL, || post(orders::use_lock)),
    route(Method::DELETE, "/v1/quotes/{lock}", TRADE, 0, || delete(orders::release)).cancels(),
    route(Method::POST, "/v1/orders", EITHER_SIDE, SMALL, || post(orders::place)),
    route(Method::DELETE, "/v1/orders", EITHER_SIDE, 0, || delete(orders::cancel_all)).cancels(),
    route(Method::POST, "/v1/orders/batch", EITHER_SIDE, BATCH, || post(orders::batch)).weight(10),
    route(Method::POST, "/v1/orders/cancel-after", EITHER_SIDE, SMALL, || post(orders::cancel_after)).cancels(),
    route(Method::PUT, "/v1/orders/{order}", EITHER_SIDE, SMALL, || put(orders::replace)),
    route(Method::DELETE, "/v1/orders/{order}", EITHER_SIDE, SMALL, || delete(orders::cancel)).cancels(),
    route(Method::PUT, "/v1/provider", PROVIDE, SMALL, || put(providers::register)),
    route(Method::POST, "/api/provider/status", PROVIDE, SMALL, || post(providers::status)),
    route(Method::POST, "/v1/chat/completions", TRADE, PROMPT, || inference::calls(Surface::Chat)),
    route(Method::POST, "/v1/completions", TRADE, PROMPT, || inference::calls(Surface::Completions)),
    route(Method::POST, "/v1/responses", TRADE, PROMPT, || inference::calls(Surface::Responses)),
    route(Method::POST, "/v1/messages", TRADE, PROMPT, || inference::calls(Surface::Messages)),
    route(Method::POST, "/api/generate", TRADE, PROMPT, || inference::calls(Surface::Generate)),
    route(Method::GET, "/v1/admin/state", ADMIN, 0, || get(admin::state)),
    route(Method::GET, "/v1/views", ADMIN, 0, || get(admin::views)).weight(100),
    route(Method::GET, "/v1/ws", Access::Public, 0, || get(stream::open)),
];

/// The router over the table.
pub(crate) fn router(app: Arc<App>) -> Router {
    let mut router = Router::new();
    for (place, route) in ROUTES.iter().enumerate() {
        let (shared, traffic) = (Arc::clone(&app), Arc::clone(&app.traffic));
        let mut handler = (route.handler)();
        if route.method == Method::POST && idempotency::ONCE.contains(&route.path) {
            let shared = Arc::clone(&app);
            handler = handler.route_layer(from_fn(move |request: Request, next: Next| {
                idempotency::once(Arc::clone(&shared), request, next)
            }));
        }
        let admission = move |request: Request, next: Next| admit(Arc::clone(&shared), route, request, next);
        let measured = move |request: Request, next: Next| measure(Arc::clone(&traffic), place, request, next);
        handler = handler.route_layer(from_fn(admission)).route_layer(from_fn(measured));
        if is_told_in_anthropic_s_words(route.path) {
            handler = handler.route_layer(map_response(in_its_words));
        }
        router = router.route(route.path, handler);
    }
    let shared = Arc::clone(&app);
    let unknown = move |request: Request| async move {
        shared.traffic.count_unknown();
        let message = format!("no such route: {} {}", request.method(), request.uri().path());
        let error = ApiError::new(StatusCode::NOT_FOUND, "invalid_request_error", "route_not_found", message);
        refuse(&shared, request, error).await
    };
    let shared = Arc::clone(&app);
    let wrong_method = move |request: Request| async move {
        let message = format!("{} is not possible on {}", request.method(), request.uri().path());
        let status = StatusCode::METHOD_NOT_ALLOWED;
        refuse(&shared, request, ApiError::new(status, "invalid_request_error", "method_not_allowed", message)).await
    };
    let cors = cors::layer(&app.cors_origins);
    let router = router.fallback(unknown).method_not_allowed_fallback(wrong_method).with_state(app);
    match cors {
        Some(cors) => router.layer(cors),
        None => router,
    }
}

/// Answers a request that no route takes, in the words that its path asks for.
async fn refuse(app: &App, request: Request, error: ApiError) -> Response {
    let in_anthropic_s = is_told_in_anthropic_s_words(request.uri().path());
    let response = turn_away(app, request, error).await;
    if in_anthropic_s { in_its_words(response).await } else { response }
}
