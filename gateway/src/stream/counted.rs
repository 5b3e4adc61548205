//! What a request over a socket counts as: a call of the REST route that does the same, with its weight, from its allowance.

use crate::route::Route;
use crate::routes::ROUTES;
use crate::stream::request::Head;
use axum::http::Method;
use std::sync::LazyLock;

/// Operations, and channels that are subscribed to, with the routes that do the same. The others are not there: over REST
/// nothing does the same.
const SAME: [(&str, Method, &str); 13] = [
    ("place", Method::POST, "/v1/orders"),
    ("replace", Method::PUT, "/v1/orders/{order}"),
    ("cancel", Method::DELETE, "/v1/orders/{order}"),
    ("cancel_all", Method::DELETE, "/v1/orders"),
    ("cancel_after", Method::POST, "/v1/orders/cancel-after"),
    ("cancel_on_disconnect", Method::POST, "/v1/orders/cancel-after"),
    ("book", Method::GET, "/v1/book/{instrument}"),
    ("trades", Method::GET, "/v1/trades/{instrument}"),
    ("candles", Method::GET, "/v1/candles/{instrument}"),
    ("ticker", Method::GET, "/v1/book/{instrument}"),
    ("orders", Method::GET, "/v1/orders"),
    ("fills", Method::GET, "/v1/fills"),
    ("balances", Method::GET, "/v1/balance"),
];

static COUNTED: LazyLock<Vec<(&str, &Route)>> = LazyLock::new(|| {
    let found = |(name, method, path): (&'static str, Method, &str)| {
        Some((name, ROUTES.iter().find(|route| route.method == method && route.path == path)?))
    };
    SAME.into_iter().filter_map(found).collect()
});

/// The route that does the same, if there is one.
pub(super) fn route_like(head: &Head) -> Option<&'static Route> {
    let name = if head.op == "subscribe" { head.channel.as_deref()? } else { &head.op };
    COUNTED.iter().find(|(known, _)| *known == name).map(|(_, route)| *route)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Scopes;
    use crate::route::{Access, Bucket};

    #[test]
    fn what_is_asked_for_over_a_socket_counts_as_over_rest() {
        assert_eq!(COUNTED.len(), SAME.len(), "each of those routes is there");
        let check = |text: &str, access: Option<bool>, bucket: Bucket| {
            let route = route_like(&crate::stream::request::head(text.as_bytes()).unwrap());
            let scoped = route.map(|route| matches!(route.access, Access::Scoped(_)));
            assert_eq!((scoped, route.map_or(Bucket::Ordinary, |route| route.bucket)), (access, bucket), "{text}");
        };
        check(r#"{"op":"place"}"#, Some(true), Bucket::Ordinary);
        check(r#"{"op":"cancel"}"#, Some(true), Bucket::Cancel);
        check(r#"{"op":"cancel_on_disconnect"}"#, Some(true), Bucket::Cancel);
        check(r#"{"op":"subscribe","channel":"balances"}"#, Some(true), Bucket::Ordinary);
        check(r#"{"op":"subscribe","channel":"book"}"#, Some(false), Bucket::Ordinary);
        for nothing in [r#"{"op":"ping"}"#, r#"{"op":"subscribe"}"#, r#"{"op":"unsubscribe","channel":"orders"}"#] {
            check(nothing, None, Bucket::Ordinary);
        }
    }

    #[test]
    fn every_command_that_trades_asks_for_a_key_that_may() {
        for (name, route) in COUNTED.iter().filter(|(name, _)| name.starts_with("cancel")) {
            let trades = Scopes::TRADE.with(Scopes::PROVIDE);
            assert!(matches!(route.access, Access::Scoped(scopes) if scopes == trades), "{name}");
        }
    }
}
