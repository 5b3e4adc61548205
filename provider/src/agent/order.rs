//! An ask as the gateway's API writes it, and what is read back. Nothing here calls anybody.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use super::{AgentOptions, price::Price};

/// The body of `POST /v1/orders` for a fresh ask over the whole capacity.
pub(crate) fn order_body(options: &AgentOptions, price: Price, client_order_id: &str) -> Value {
    let mut order = json!({
        "side": "ask",
        "type": "limit",
        "instrument": options.model,
        "price": price.to_string(),
        "quantity": options.capacity,
        "time_in_force": "gtc",
        "latency_ms": options.latency_ms,
        "throughput_tps": options.throughput_tps,
        "client_order_id": client_order_id,
    });
    for (name, value) in [("gpu", &options.gpu), ("region", &options.region)] {
        if let Some(value) = value {
            order[name] = Value::from(value.as_str());
        }
    }
    order
}

/// Numbers the orders of this process, so that agents in one process never share an id.
static ORDERS: AtomicU64 = AtomicU64::new(1);

/// A client order id that no other run of an agent makes: process, Unix milliseconds, number.
pub(crate) fn client_order_id() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let number = ORDERS.fetch_add(1, Ordering::Relaxed);
    format!("agent-{}-{}-{number}", std::process::id(), since.as_millis())
}

/// How an order stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OrderState {
    /// The gateway's word for it.
    pub(crate) status: String,
    /// Whether it can still be taken.
    pub(crate) open: bool,
    /// Units that can still be taken.
    pub(crate) remaining: u64,
}

impl OrderState {
    /// Reads the body of `GET /v1/orders/{id}`.
    pub(crate) fn parse(body: &Value) -> Option<Self> {
        let status = body.get("status")?.as_str()?.to_owned();
        let remaining = match body.get("remaining")? {
            Value::String(text) => text.parse().ok()?,
            value => value.as_u64()?,
        };
        let open = matches!(status.as_str(), "open" | "partially_filled");
        Some(OrderState { status, open, remaining })
    }
}

/// The id in the gateway's answer, if it can stand in a path.
pub(crate) fn order_id(body: &Value) -> Option<String> {
    let id = body.get("id")?.as_str()?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    (!id.is_empty() && id.len() <= 128 && id.bytes().all(plain)).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_resting_orders_are_open() {
        let parse = |status: &str| OrderState::parse(&json!({"status": status, "remaining": 5})).unwrap();
        for (status, open) in
            [("open", true), ("partially_filled", true), ("filled", false), ("canceled", false), ("expired", false)]
        {
            assert_eq!(parse(status), OrderState { status: status.to_owned(), open, remaining: 5 });
        }
    }

    #[test]
    fn answer_without_status_or_remaining_is_not_understood() {
        for body in
            [json!({"status": "open"}), json!({"remaining": 1}), json!({"status": 1, "remaining": 1}), json!([])]
        {
            assert_eq!(OrderState::parse(&body), None, "{body}");
        }
    }

    #[test]
    fn id_that_would_change_the_path_is_refused() {
        assert_eq!(order_id(&json!({"id": "ord_1a-B"})).as_deref(), Some("ord_1a-B"));
        for id in ["", "../balance", "a/b", "a b", "a?b"] {
            assert_eq!(order_id(&json!({"id": id})), None, "{id}");
        }
    }

    #[test]
    fn client_order_ids_differ() {
        assert_ne!(client_order_id(), client_order_id());
    }
}
