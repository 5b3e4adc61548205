//! What a caller is told of its limits with every reply, in the names and the form that OpenAI's clients know.

use super::{Allowance, Left};
use axum::http::{HeaderMap, HeaderName, HeaderValue};

const REQUESTS: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit-requests"),
    HeaderName::from_static("x-ratelimit-remaining-requests"),
    HeaderName::from_static("x-ratelimit-reset-requests"),
];
const TOKENS: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit-tokens"),
    HeaderName::from_static("x-ratelimit-remaining-tokens"),
    HeaderName::from_static("x-ratelimit-reset-tokens"),
];

/// Adds what is left to a reply.
pub(crate) fn put_headers(allowance: &Allowance, headers: &mut HeaderMap) {
    put(REQUESTS, &allowance.requests, headers);
    if let Some(tokens) = &allowance.tokens {
        put(TOKENS, tokens, headers);
    }
}

fn put([limit, remaining, reset]: [HeaderName; 3], left: &Left, headers: &mut HeaderMap) {
    headers.insert(limit, HeaderValue::from(left.limit));
    headers.insert(remaining, HeaderValue::from(left.remaining));
    if let Ok(value) = HeaderValue::from_str(&duration(left.reset_us)) {
        headers.insert(reset, value);
    }
}

/// A span as `12ms`, `7s`, `6m0s` or `2h0m5s`; never shorter than it is.
pub(super) fn duration(us: u64) -> String {
    let ms = us.div_ceil(1_000);
    if ms < 1_000 {
        return format!("{ms}ms");
    }
    let seconds = ms.div_ceil(1_000);
    let (hours, minutes, rest) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{rest}s"),
        (0, _) => format!("{minutes}m{rest}s"),
        _ => format!("{hours}h{minutes}m{rest}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_written_as_openai_writes_them() {
        let cases = [(0, "0ms"), (1, "1ms"), (12_000, "12ms"), (999_001, "1s"), (7_000_000, "7s")];
        let longer = [(360_000_000, "6m0s"), (3_599_000_001, "1h0m0s"), (86_400_000_000, "24h0m0s")];
        for (us, expected) in cases.into_iter().chain(longer) {
            assert_eq!(duration(us), expected, "{us} us");
        }
    }
}
