//! What answers look like, for the document alone: answers are made of what the views and the engine say, and a test holds
//! real ones against these.

#![expect(dead_code, reason = "these types are described, never made")]

mod contracts;
mod inference;
mod market;
mod money;
mod operation;
mod orders;
mod providers;

pub(super) use contracts::*;
pub(super) use inference::*;
pub(super) use market::*;
pub(super) use money::*;
pub(super) use operation::*;
pub(super) use orders::*;
pub(super) use providers::*;
use utoipa::ToSchema;

/// Credits as a decimal with eight places.
#[derive(ToSchema)]
#[schema(pattern = r"^-?[0-9]+\.[0-9]{8}$", example = "0.00135000")]
pub(super) struct Credits(String);

/// US dollars as a decimal.
#[derive(ToSchema)]
#[schema(pattern = r"^-?[0-9]+\.[0-9]{2,11}$", example = "10.00")]
pub(super) struct Dollars(String);

/// A time in UTC.
#[derive(ToSchema)]
#[schema(format = DateTime, example = "2026-11-21T12:00:00.000000Z")]
pub(super) struct Time(String);

/// Microseconds since the Unix epoch.
#[derive(ToSchema)]
#[schema(minimum = 0)]
pub(super) struct Micros(u64);

/// `bid` or `ask`.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub(super) enum OrderSide {
    Bid,
    Ask,
}

/// The position that an answer reflects.
#[derive(ToSchema)]
pub(super) struct Position {
    /// The last input it reflects: `?after=` waits for one.
    seq: u64,
    /// That input's time.
    at: Time,
    at_us: Micros,
}

/// Why a request failed.
#[derive(ToSchema)]
pub(super) struct Error {
    error: ErrorDetail,
}

/// What is wrong, and where.
#[derive(ToSchema)]
pub(super) struct ErrorDetail {
    /// For people: what is wrong and what would be right.
    message: String,
    /// Broad class, as OpenAI's clients know it.
    r#type: String,
    /// The field or header at fault.
    #[schema(required = true)]
    param: Option<String>,
    /// Stable name of this very error.
    code: String,
}
