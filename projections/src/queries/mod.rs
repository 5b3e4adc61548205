//! Every question that the views answer, in one table: path, who may ask, what may be named, and the plain function that
//! answers from one [`Reader`]. The gateway and the projector serve the same table.
//!
//! Every answer is of one position and says which: `seq`, the last input it reflects, and `at`, that input's time. To
//! wait for a position (`?after=`), to know who asks, and to say that the views are behind is the server's part.
//! An answer that is a JSON string is CSV, to be sent as it is.
//!
//! Listings come newest first, a page at a time: `limit` rows, and `next_before` is the `before` of the next page, null
//! when there is none.

mod accounts;
mod market;
mod models;
mod orders;
mod params;
mod providers;
mod usage;

pub use market::{INTERVALS, candle_json};

use crate::reader::{Page, Reader};
use crate::store::StoreError;
use crate::words::{micros, utc};
use gollem_engine::{AccountId, InstrumentId};
use serde_json::Value;
use std::collections::BTreeMap;
use std::str::FromStr;

pub use params::{Kind, Param};

/// Rows in a listing unless `limit` says otherwise.
const LIMIT_DEFAULT: usize = 100;
/// Most rows in a listing.
const LIMIT_MAX: usize = 1_000;

/// Who may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anyone.
    Public,
    /// Whoever may read for an account, about that account.
    Account,
}

/// A question.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Whose views are meant, of questions about an account.
    pub account: Option<AccountId>,
    /// What stands for the one parameter in the path.
    pub segment: Option<String>,
    /// What the question names beyond that; `after` and `account`, which are the server's, not among them.
    pub params: BTreeMap<String, String>,
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// A parameter has a value that it may not have, or may not be there.
    #[error("{message}")]
    Invalid {
        /// Which.
        param: String,
        /// What would be right.
        message: String,
    },
    /// There is nothing of that name.
    #[error("{message}")]
    NotFound {
        /// What names it.
        param: &'static str,
        /// A stable name of the error.
        code: &'static str,
        /// What is missing.
        message: String,
    },
    /// The views cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// One kind of question.
#[derive(Debug)]
pub struct Query {
    /// Its path; `{x}` is a parameter.
    pub path: &'static str,
    /// Who may ask.
    pub access: Access,
    /// What may be named beside that.
    pub params: &'static [Param],
    answer: fn(&Reader<'_>, &Asked) -> Result<Value, QueryError>,
}

impl Query {
    /// The answer from the views as the reader sees them.
    ///
    /// # Errors
    /// When the question names something it may not, or what is not there, or the views cannot be read.
    pub fn answer(&self, reader: &Reader<'_>, asked: &Asked) -> Result<Value, QueryError> {
        if let Some(name) = asked.params.keys().find(|name| self.params.iter().all(|param| param.name != *name)) {
            return Err(self.unknown(name));
        }
        let mut answer = (self.answer)(reader, asked)?;
        if let Value::Object(answer) = &mut answer {
            answer.insert("seq".into(), reader.seq().into());
            answer.insert("at".into(), utc(reader.at()).into());
            answer.insert("at_us".into(), micros(reader.at()).into());
        }
        Ok(answer)
    }

    fn unknown(&self, name: &str) -> QueryError {
        let shown: String = name.chars().take(64).collect();
        let known: Vec<&str> = self.params.iter().map(|param| param.name).chain(["after"]).collect();
        invalid(&shown, format!("unknown parameter `{shown}`: this takes {}", known.join(", ")))
    }
}

const fn query(
    path: &'static str,
    access: Access,
    params: &'static [Param],
    answer: fn(&Reader<'_>, &Asked) -> Result<Value, QueryError>,
) -> Query {
    Query { path, access, params, answer }
}

/// The table.
pub const QUERIES: &[Query] = &[
    query("/v1/instruments", Access::Public, params::NONE, market::instruments),
    query("/v1/instruments/{instrument}", Access::Public, params::NONE, market::instrument),
    query("/v1/book/{instrument}", Access::Public, params::BOOK, market::book),
    query("/v1/trades/{instrument}", Access::Public, params::BY_POSITION, market::trades),
    query("/v1/candles/{instrument}", Access::Public, params::CANDLES, market::candles),
    query("/v1/index", Access::Public, params::NONE, market::indices),
    query("/v1/index/{model}", Access::Public, params::NONE, market::index),
    query("/api/orderbook/status", Access::Public, params::NONE, market::status),
    query("/v1/models", Access::Public, params::NONE, models::models),
    query("/v1/models/stats", Access::Public, params::DAYS, models::all_stats),
    query("/v1/models/recommend", Access::Public, params::USE, models::recommend),
    query("/v1/models/{model}", Access::Public, params::NONE, models::model),
    query("/v1/models/{model}/stats", Access::Public, params::DAYS, models::stats),
    query("/v1/providers/{account}/scorecard", Access::Account, params::NONE, providers::scorecard),
    query("/api/provider/circuit", Access::Account, params::PROVIDERS, providers::circuit),
    query("/api/provider/ratelimit", Access::Account, params::PROVIDERS, providers::ratelimit),
    query("/api/provider/latency", Access::Account, params::PROVIDERS, providers::latency),
    query("/api/provider/status", Access::Account, params::PROVIDERS, providers::status),
    query("/v1/payouts", Access::Account, params::PAYOUTS, providers::payouts),
    query("/v1/balance", Access::Account, params::NONE, accounts::balance),
    query("/v1/transactions", Access::Account, params::BY_POSITION, accounts::transactions),
    query("/v1/guardrails/spending", Access::Account, params::NONE, accounts::spending),
    query("/v1/orders", Access::Account, params::ORDERS, orders::orders),
    query("/v1/orders/{order}", Access::Account, params::NONE, orders::order),
    query("/v1/fills", Access::Account, params::FILLS, orders::fills),
    query("/v1/holds", Access::Account, params::HOLDS, orders::holds),
    query("/v1/contracts", Access::Account, params::CONTRACTS, orders::contracts),
    query("/v1/contracts/{contract}", Access::Account, params::NONE, orders::contract),
    query("/v1/deliveries", Access::Account, params::BY_POSITION, orders::deliveries),
    query("/v1/usage", Access::Account, params::USAGE, usage::usage),
    query("/v1/usage/export", Access::Account, params::EXPORT, usage::export),
    query("/v1/analytics", Access::Account, params::NONE, usage::analytics),
];

fn invalid(param: &str, message: impl Into<String>) -> QueryError {
    QueryError::Invalid { param: param.to_owned(), message: message.into() }
}

impl Asked {
    /// Whose views are meant.
    fn account(&self) -> Result<AccountId, QueryError> {
        self.account.ok_or_else(|| invalid("account", "this is about an account: name one, such as acc_7"))
    }

    /// What stands in the path.
    fn segment(&self) -> &str {
        self.segment.as_deref().unwrap_or_default()
    }

    fn text(&self, param: &str) -> Option<&str> {
        self.params.get(param).map(String::as_str)
    }

    fn number<T: FromStr>(&self, param: &str) -> Result<Option<T>, QueryError> {
        let read = |text: &str| text.parse().map_err(|_| invalid(param, format!("{param} must be a whole number")));
        self.text(param).map(read).transpose()
    }

    /// `limit`, from 1 to the most there may be.
    fn limit(&self, default: usize, max: usize) -> Result<usize, QueryError> {
        let limit = self.number("limit")?.unwrap_or(default);
        let fits = (1..=max).contains(&limit);
        fits.then_some(limit).ok_or_else(|| invalid("limit", format!("limit must be between 1 and {max}")))
    }

    /// The page that `limit` and `before` name.
    fn page<T>(&self, read: impl Fn(&str) -> Option<T>) -> Result<Page<T>, QueryError> {
        let wrong = || invalid("before", "before must be a next_before of an earlier page");
        let before = self.text("before").map(|text| read(text).ok_or_else(wrong)).transpose()?;
        Ok(Page { before, limit: self.limit(LIMIT_DEFAULT, LIMIT_MAX)? })
    }

    /// Whether only what is open is asked for.
    fn open_only(&self) -> Result<bool, QueryError> {
        match self.text("status") {
            None | Some("all") => Ok(false),
            Some("open") => Ok(true),
            Some(_) => Err(invalid("status", "status must be open or all")),
        }
    }
}

/// Reads an id such as `ord_17`.
fn id(prefix: &str, text: &str) -> Option<u64> {
    let digits = text.strip_prefix(prefix).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok().filter(|number| *number > 0)
}

/// Reads the id of something that happened, such as `1204-3`.
fn happened(text: &str) -> Option<(u64, u32)> {
    let (seq, index) = text.split_once('-')?;
    Some((seq.parse().ok()?, index.parse().ok()?))
}

/// The `before` of the next page: where this one ends, if it is full.
fn next<T, N>(rows: &[T], page_limit: usize, name: impl Fn(&T) -> N) -> Option<N> {
    rows.last().filter(|_| rows.len() >= page_limit).map(name)
}

/// Names of instruments, each looked up once.
struct Symbols<'a> {
    reader: &'a Reader<'a>,
    known: BTreeMap<InstrumentId, String>,
}

impl<'a> Symbols<'a> {
    fn new(reader: &'a Reader<'a>) -> Symbols<'a> {
        Symbols { reader, known: BTreeMap::new() }
    }

    fn name(&mut self, id: InstrumentId) -> Result<&str, QueryError> {
        use std::collections::btree_map::Entry;
        match self.known.entry(id) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => Ok(entry.insert(self.reader.spec(id)?.symbol.as_str().to_owned())),
        }
    }
}
