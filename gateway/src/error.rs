//! The one error shape of the API, OpenAI's: `{"error":{"message","type","param","code"}}`, and the one table that
//! turns the engine's refusals into it.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use gollem_engine::{InstrumentField, Miss, RejectReason};
use gollem_projections::StoreError;
use gollem_sequencer::SubmitError;
use serde_json::json;

/// What a caller is told when a request fails.
#[derive(Clone, Debug)]
pub struct ApiError {
    /// HTTP status.
    pub status: StatusCode,
    /// Broad class, as OpenAI's clients know it.
    pub kind: &'static str,
    /// Stable name of this very error.
    pub code: &'static str,
    /// Words for people: what is wrong and what would be right.
    pub message: String,
    /// The field or header at fault.
    pub param: Option<String>,
}

const INVALID: &str = "invalid_request_error";
const SERVER: &str = "server_error";

impl ApiError {
    /// An error without a field.
    pub fn new(status: StatusCode, kind: &'static str, code: &'static str, message: impl Into<String>) -> ApiError {
        ApiError { status, kind, code, message: message.into(), param: None }
    }

    /// 400: a field has a value that it may not have.
    pub fn invalid(param: impl Into<String>, message: impl Into<String>) -> ApiError {
        let error = ApiError::new(StatusCode::BAD_REQUEST, INVALID, "invalid_value", message);
        ApiError { param: Some(param.into()), ..error }
    }

    /// 404: nothing of that name.
    pub fn not_found(param: &str, code: &'static str, message: impl Into<String>) -> ApiError {
        let error = ApiError::new(StatusCode::NOT_FOUND, INVALID, code, message);
        ApiError { param: Some(param.to_owned()), ..error }
    }

    /// 404 for a model or instrument that is not listed.
    pub fn unknown_instrument(param: &str, name: &str) -> ApiError {
        let name: String = name.chars().take(64).collect();
        let message = format!("{param} `{name}` is not listed; GET /v1/instruments lists what is");
        ApiError::not_found(param, "model_not_found", message)
    }

    /// 503: come back.
    pub fn unavailable(code: &'static str, message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, SERVER, code, message)
    }

    /// 502: the matched provider did not deliver.
    pub fn provider_failed(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::BAD_GATEWAY, SERVER, "provider_failed", message)
    }

    /// 500: our fault; the details are in the log, not in the answer.
    pub fn internal(error: &dyn std::fmt::Display) -> ApiError {
        tracing::error!(%error, "internal error");
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, SERVER, "internal_error", "something broke on our side")
    }

    /// The same error for a caller who gave the field under another name.
    pub(crate) fn renamed(self, from: &str, to: &str) -> ApiError {
        if self.param.as_deref() != Some(from) {
            return self;
        }
        ApiError { message: self.message.replacen(from, to, 1), param: Some(to.to_owned()), ..self }
    }

    /// The body of the answer.
    pub fn body(&self) -> serde_json::Value {
        json!({ "error": {
            "message": self.message, "type": self.kind, "param": self.param, "code": self.code,
        }})
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, axum::Json(self.body())).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE || self.status == StatusCode::TOO_MANY_REQUESTS {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

impl From<SubmitError> for ApiError {
    fn from(error: SubmitError) -> ApiError {
        match error {
            SubmitError::Overloaded => ApiError::unavailable("overloaded", "the exchange is overloaded; retry later"),
            SubmitError::Unavailable => ApiError::unavailable(
                "unavailable",
                "the exchange accepts no commands now; retry with the same client_order_id or reference",
            ),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> ApiError {
        ApiError::internal(&error)
    }
}

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> ApiError {
        ApiError::internal(&error)
    }
}

impl From<RejectReason> for ApiError {
    fn from(reason: RejectReason) -> ApiError {
        use crate::money::{credits, credits_per_unit};
        let too_many = |what: &str, max: u32| {
            ApiError::new(StatusCode::TOO_MANY_REQUESTS, INVALID, "too_many", format!("at most {max} {what}"))
        };
        match reason {
            RejectReason::UnknownAccount => ApiError::not_found("account", "account_not_found", "no such account"),
            RejectReason::UnknownInstrument => ApiError::unknown_instrument("instrument", ""),
            RejectReason::UnknownOrder => {
                ApiError::not_found("order", "order_not_found", "no open order of yours has this id")
            }
            RejectReason::UnknownContract => {
                ApiError::not_found("contract", "contract_not_found", "no open contract has this id")
            }
            RejectReason::UnknownPayout => {
                ApiError::not_found("payout", "payout_not_found", "no pending payout has this id")
            }
            RejectReason::TooManyAccounts { max } => too_many("accounts on this exchange", max),
            RejectReason::TooManyInstruments { max } => too_many("instruments on this exchange", max),
            RejectReason::TooManyOrders { max } => too_many("open orders; cancel some first", max),
            RejectReason::TooManyContracts { max } => too_many("open contracts; let some settle first", max),
            RejectReason::InvalidInstrument { field } => invalid_instrument(field),
            RejectReason::SymbolTaken => {
                let message = "another instrument has this symbol";
                let error = ApiError::new(StatusCode::CONFLICT, INVALID, "symbol_taken", message);
                ApiError { param: Some("symbol".into()), ..error }
            }
            RejectReason::PurchaseOutOfRange { .. } => {
                ApiError::invalid("amount_usd", "amount_usd must be between 1.00 and 1000.00")
            }
            RejectReason::BalanceTooLarge { max } => {
                ApiError::invalid("amount_usd", format!("an account may own at most {} credits", credits(max)))
            }
            RejectReason::ReferenceConflict => {
                let message = "this reference was used for another account or amount";
                let error = ApiError::new(StatusCode::CONFLICT, INVALID, "reference_conflict", message);
                ApiError { param: Some("reference".into()), ..error }
            }
            RejectReason::QuantityOutOfRange { max } => {
                ApiError::invalid("quantity", format!("quantity must be between 1 and {} units", max.0))
            }
            RejectReason::PriceOutOfRange { min, max } => {
                let (min, max) = (credits_per_unit(min), credits_per_unit(max));
                ApiError::invalid("price", format!("price must be between {min} and {max} credits per unit"))
            }
            RejectReason::PriceOffTick { tick } => {
                let tick = credits_per_unit(tick);
                ApiError::invalid("price", format!("price must be a multiple of {tick} credits per unit"))
            }
            RejectReason::NotionalTooLarge { max } => {
                ApiError::invalid("quantity", format!("price times quantity may be at most {} credits", credits(max)))
            }
            RejectReason::MarketOrderMustBeImmediate => {
                ApiError::invalid("time_in_force", "a market order must have time_in_force \"ioc\"")
            }
            RejectReason::InsufficientCredits { needed, available } => {
                let (needed, available) = (credits(needed), credits(available));
                let message = format!("this needs {needed} credits at its limit and {available} are available");
                ApiError::new(StatusCode::PAYMENT_REQUIRED, "insufficient_quota", "insufficient_credits", message)
            }
            RejectReason::DeliveryExceedsContract { remaining } => {
                ApiError::invalid("quantity", format!("the contract has {} units left", remaining.0))
            }
            RejectReason::PayoutOutOfRange { min, max } => {
                let (min, max) = (crate::money::dollars(min.0.into()), crate::money::dollars(max.0.into()));
                ApiError::invalid("amount_usd", format!("amount_usd must be between {min:.2} and {max:.2}"))
            }
            RejectReason::PayoutNotWholeCents => {
                ApiError::invalid("amount_usd", "amount_usd must be a whole number of cents")
            }
        }
    }
}

fn invalid_instrument(field: InstrumentField) -> ApiError {
    let (param, rule) = match field {
        InstrumentField::Symbol => ("symbol", "must be 1 to 64 of a-z A-Z 0-9 . - _ / :"),
        InstrumentField::Weights => ("weights", "must be above 0 for input and output"),
        InstrumentField::Tick => ("tick", "must be between 0.00000001 and 1000000 credits"),
        InstrumentField::ReferencePrice => ("reference_price", "must be a multiple of tick, at most 1000000 credits"),
        InstrumentField::QuantityMax => ("quantity_max", "must be between 1 and 1000000000000 units"),
        InstrumentField::DeliveryFeeBps => ("delivery_fee_bps", "must be between 0 and 5000"),
        InstrumentField::ContractTtlNs => ("contract_ttl_s", "must be between 720 and 34560000 seconds"),
    };
    ApiError::invalid(param, format!("{param} {rule}"))
}

/// The stable code of what a call lacked in the market.
pub(crate) fn miss_code(miss: Miss) -> &'static str {
    match miss {
        Miss::EmptyBook => "no_ask",
        Miss::Price => "no_ask_at_price",
        Miss::Constraints => "no_ask_within_limits",
        Miss::Capacity => "no_ask_with_capacity",
    }
}

impl From<Miss> for ApiError {
    fn from(miss: Miss) -> ApiError {
        let message = match miss {
            Miss::EmptyBook => "no provider offers this model now",
            Miss::Price => "no provider offers this model at this price; raise x-max-price or retry later",
            Miss::Constraints => "no provider at this price meets the limits; relax x-max-latency or x-min-throughput",
            Miss::Capacity => "the providers within the limits have too little capacity left for this request",
        };
        ApiError::unavailable(miss_code(miss), message)
    }
}
