//! Which web pages may call the exchange from a browser: none, unless their origins are named.

use axum::http::{HeaderName, HeaderValue, Method, header};
use std::time::Duration;
use tower_http::cors::{AllowOrigin, CorsLayer};
use url::Url;

/// How long a browser may remember what is allowed.
const MAX_AGE: Duration = Duration::from_secs(3_600);

/// Reads an origin such as `https://app.example.com`.
///
/// # Errors
/// Words for its author, where it is none: `*` would let every page act for whoever looks at it.
pub fn parse_origin(text: &str) -> Result<HeaderValue, String> {
    let wrong = || format!("`{text}` is no origin such as https://app.example.com");
    let url = Url::parse(text).map_err(|_| wrong())?;
    let whole = matches!(url.scheme(), "http" | "https") && url.origin().ascii_serialization() == text;
    if whole { HeaderValue::from_str(text).map_err(|_| wrong()) } else { Err(wrong()) }
}

/// What answers browsers that ask for these origins; nothing where there are none.
pub(crate) fn layer(origins: &[HeaderValue]) -> Option<CorsLayer> {
    const SENT: [&str; 13] = [
        "x-api-key",
        "x-gollem-key",
        "x-gollem-timestamp",
        "x-gollem-nonce",
        "x-gollem-signature",
        "idempotency-key",
        "x-max-price",
        "x-max-latency",
        "x-min-throughput",
        "x-request-id",
        "authorization",
        "content-type",
        "accept",
    ];
    const SHOWN: [&str; 11] = [
        "x-ratelimit-limit-requests",
        "x-ratelimit-remaining-requests",
        "x-ratelimit-reset-requests",
        "x-ratelimit-limit-tokens",
        "x-ratelimit-remaining-tokens",
        "x-ratelimit-reset-tokens",
        "x-request-id",
        "x-gollem-provider",
        "x-gollem-contract",
        "x-gollem-cost",
        "retry-after",
    ];
    if origins.is_empty() {
        return None;
    }
    let layer = CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins.iter().cloned()))
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers(SENT.map(HeaderName::from_static))
        .expose_headers(SHOWN.map(HeaderName::from_static))
        .vary([header::ORIGIN])
        .max_age(MAX_AGE);
    Some(layer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_whole_and_names_one_site() {
        for good in ["https://app.example.com", "http://localhost:3000"] {
            assert_eq!(parse_origin(good).unwrap(), good);
        }
        for bad in ["*", "null", "app.example.com", "https://app.example.com/", "https://*.example.com/x", "file://x"] {
            assert!(parse_origin(bad).is_err(), "{bad}");
        }
    }
}
