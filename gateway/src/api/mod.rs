//! The trading API's handlers, and how they read bodies, queries and ids. Each handler translates, sends one command
//! or asks one view, and translates back.

pub(crate) mod accounts;
pub(crate) mod admin;
pub(crate) mod guard_rails;
pub(crate) mod health;
pub(crate) mod keys;
pub(crate) mod market;
pub(crate) mod metrics;
pub(crate) mod orders;
pub(crate) mod payments;
pub(crate) mod people;
pub(crate) mod providers;
pub(crate) mod queries;
pub(crate) mod quote;
pub(crate) mod receipts;

use crate::error::ApiError;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use gollem_engine::{AccountId, ClientOrderId, Reference, RejectReason};
use gollem_projections::words::{self, digest};
use serde::de::DeserializeOwned;

/// Longest name, reference or client id in bytes.
const NAME_BYTES_MAX: usize = 64;

/// Reads a JSON body; the error names the field at fault.
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    // serde would take a list for a struct, field by field; no route means that.
    if body.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return Err(ApiError::invalid("body", "the body must be a JSON object"));
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let broken = error.inner().is_syntax() || error.inner().is_eof() || path == "." || path.contains('?');
        let field = named_field(error.inner()).unwrap_or(if broken { "body".to_owned() } else { path });
        ApiError::invalid(field, format!("the body is not what this route takes: {}", error.inner()))
    })?;
    json.end().map_err(|error| ApiError::invalid("body", format!("the body goes on after its JSON: {error}")))?;
    Ok(value)
}

/// The field that serde quotes in "missing field `x`" and its like, which no path leads to.
fn named_field(error: &serde_json::Error) -> Option<String> {
    let words = error.to_string();
    let rest =
        ["missing field `", "unknown field `", "duplicate field `"].iter().find_map(|lead| words.strip_prefix(lead))?;
    rest.split('`').next().map(str::to_owned)
}

/// Reads an id such as `ord_17`.
pub(crate) fn parse_id(field: &str, prefix: &str, text: &str) -> Result<u64, ApiError> {
    let number = text
        .strip_prefix(prefix)
        .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|digits| digits.parse().ok())
        .filter(|number| *number > 0);
    number.ok_or_else(|| ApiError::invalid(field, format!("{field} must be an id such as {prefix}17")))
}

/// Reads an account's id, such as `acc_7`.
pub(crate) fn account_id(text: &str) -> Result<AccountId, ApiError> {
    u32::try_from(parse_id("account", "acc_", text)?).map(AccountId).map_err(|_| no_account())
}

/// 404 for an account that is not there, as the engine says it.
fn no_account() -> ApiError {
    RejectReason::UnknownAccount.into()
}

/// Checks a name the caller chose.
fn check_name(field: &'static str, name: &str) -> Result<(), ApiError> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        let message = format!("{field} must have 1 to {NAME_BYTES_MAX} bytes and no control characters");
        return Err(ApiError::invalid(field, message));
    }
    Ok(())
}

/// A payment reference as the journal knows it: sixteen bytes of a hash, since the text may be personal.
pub(crate) fn reference(text: &str) -> Reference {
    Reference(digest(b"gollem purchase reference", text))
}

/// A client order id as the journal knows it.
pub(crate) fn client_order_id(field: &'static str, text: &str) -> Result<ClientOrderId, ApiError> {
    check_name(field, text)?;
    Ok(words::client_order_id(text))
}

/// The one parameter in a route's path. What is no text reads as a replacement character, which names nothing.
#[derive(Debug)]
pub(crate) struct Segment(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Segment, Self::Rejection> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        Ok(Segment(path.map_or_else(|_| char::REPLACEMENT_CHARACTER.to_string(), |Path(text)| text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only parsed")]
    struct Sample {
        price: String,
        inner: Option<Box<Sample>>,
    }

    #[test]
    fn a_bad_body_is_refused_with_the_field_at_fault() {
        let check = |body: &str, param: &str| {
            let error = parse::<Sample>(body.as_bytes()).expect_err(body);
            assert_eq!(error.param.as_deref(), Some(param), "{body}");
        };
        check("", "body");
        check("{\"price\":", "body");
        check("[]", "body");
        check("{}", "price");
        check("{\"price\":1.5}", "price");
        check("{\"price\":\"1\",\"extra\":1}", "extra");
        check("{\"price\":\"1\",\"inner\":{\"price\":7}}", "inner.price");
        check("{\"price\":\"1\"} tail", "body");
    }

    #[test]
    fn ids_have_their_prefix() {
        assert_eq!(parse_id("order", "ord_", "ord_17").unwrap(), 17);
        for bad in ["17", "ord_", "ord_-1", "ord_0", "ord_+1", "acc_17", "ord_99999999999999999999"] {
            assert!(parse_id("order", "ord_", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_number_that_no_account_can_have_is_an_account_that_is_not_there() {
        let told = |text: &str| account_id(text).map_err(|error| (error.status.as_u16(), error.code, error.param));
        assert_eq!(told("acc_4294967295"), Ok(AccountId(u32::MAX)));
        assert_eq!(told("acc_4294967296"), Err((404, "account_not_found", Some("account".into()))));
        assert_eq!(told("acc_x"), Err((400, "invalid_value", Some("account".into()))));
    }
}
