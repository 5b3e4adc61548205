//! What a question may name: each parameter with what it means, for those who ask and for the API's document.

use super::{LIMIT_DEFAULT, LIMIT_MAX};

/// A parameter of a question.
#[derive(Clone, Copy, Debug)]
pub struct Param {
    /// Its name.
    pub name: &'static str,
    /// What it means, in a sentence.
    pub about: &'static str,
    /// What it may be.
    pub kind: Kind,
}

/// What a parameter may be.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A whole number from the first to the second.
    Whole(u64, u64),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// Text of this form, a regular expression.
    Form(&'static str),
    /// Any text of 1 to so many bytes.
    Text(usize),
}

/// A position in the order of inputs.
const POSITION: Kind = Kind::Form("^[0-9]{1,18}-[0-9]{1,9}$");
const DATE: Kind = Kind::Form("^20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])$");

const fn param(name: &'static str, kind: Kind, about: &'static str) -> Param {
    Param { name, about, kind }
}

/// The page before which a listing goes on; what rows are named by is its form.
const fn before(kind: Kind) -> Param {
    param("before", kind, "Rows older than this one: the `next_before` of the page before.")
}

const LIMIT: Param = param("limit", Kind::Whole(1, LIMIT_MAX as u64), "Most rows of the answer; 100 unless given.");
const _: () = assert!(LIMIT_DEFAULT == 100, "as the parameter says");
const SHOWN: Param = param("limit", Kind::Whole(1, LIMIT_MAX as u64), "Most levels, or orders, a side.");
const ORDER: Param = before(Kind::Form("^ord_[1-9][0-9]{0,15}$"));
const CONTRACT: Param = before(Kind::Form("^ctr_[1-9][0-9]{0,15}$"));
const STATUS: Param = param("status", Kind::OneOf(&["open", "all"]), "`open` for those that are open alone.");
const PROVIDER: Param = param(
    "providerId",
    Kind::Form("^acc_[1-9][0-9]{0,8}$"),
    "The provider, such as `acc_7`; the asking account unless given.",
);

pub(super) const NONE: &[Param] = &[];
pub(super) const BY_POSITION: &[Param] = &[LIMIT, before(POSITION)];
pub(super) const PAYOUTS: &[Param] = &[LIMIT, before(Kind::Form("^pay_[1-9][0-9]{0,15}$"))];
pub(super) const ORDERS: &[Param] = &[
    STATUS,
    LIMIT,
    ORDER,
    param("client_order_id", Kind::Text(64), "Only the newest order with this client order id."),
];
pub(super) const HOLDS: &[Param] = &[LIMIT, ORDER];
pub(super) const CONTRACTS: &[Param] = &[STATUS, LIMIT, CONTRACT];
pub(super) const FILLS: &[Param] = &[LIMIT, CONTRACT];
pub(super) const PROVIDERS: &[Param] = &[PROVIDER];
pub(super) const BOOK: &[Param] = &[
    param(
        "level",
        Kind::OneOf(&["1", "2", "3"]),
        "1 for the best price a side, 2 for levels (the default), 3 for orders.",
    ),
    SHOWN,
];
pub(super) const CANDLES: &[Param] = &[
    param("interval", Kind::OneOf(&super::market::INTERVALS), "Length of a candle; 1m unless given."),
    param(
        "from",
        Kind::Whole(0, MICROS_MAX),
        "Candles that start at or after this time, microseconds since the epoch.",
    ),
    param("to", Kind::Whole(0, MICROS_MAX), "Candles that start before this time: the `next_to` of the page before."),
    LIMIT,
];
pub(super) const DAYS: &[Param] = &[param(
    "days",
    Kind::Whole(1, super::models::DAYS_MAX as u64),
    "How many UTC days are summed up, the current one included; 1 unless given.",
)];
pub(super) const USE: &[Param] = &[
    param("input_tokens", TOKENS, "Prompt tokens of a call; 1000 unless given."),
    param("output_tokens", TOKENS, "Generated tokens of a call; 1000 unless given."),
    param("max_price", Kind::Form("^[0-9]{1,4}(\\.[0-9]{1,11})?$"), "Most US dollars a normalised token, a decimal."),
    param("max_latency", MEASURE, "Most milliseconds to the first token."),
    param("min_throughput", MEASURE, "Fewest tokens a second."),
    param("preference", Kind::OneOf(&super::models::PREFERENCES), "What comes first; price unless given."),
];
pub(super) const USAGE: &[Param] = &[
    param("period", Kind::OneOf(&["day", "month"]), "What a row sums up; day unless given."),
    param("limit", Kind::Whole(1, super::usage::PERIODS_MAX as u64), "Most periods of the answer; 31 unless given."),
    param("before", DATE, "Periods before this one: the `next_before` of the page before."),
];
pub(super) const EXPORT: &[Param] = &[
    param("format", Kind::OneOf(&["json", "csv"]), "json unless given."),
    param("from", DATE, "The first day; a year before the last unless given."),
    param("to", DATE, "The last day; today unless given. At most 366 days in all."),
];

const TOKENS: Kind = Kind::Whole(0, 1_000_000_000);
const MEASURE: Kind = Kind::Whole(0, 1_000_000);
/// The last microsecond that is a time here.
const MICROS_MAX: u64 = u64::MAX / 1_000;
