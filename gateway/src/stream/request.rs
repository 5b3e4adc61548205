//! What a client may say: a JSON object with `op`, an `id` that the answer repeats, and the operation's own fields. A field
//! that does not belong is refused by name.

use crate::api::market::instrument;
use crate::api::orders::PlaceOrder;
use crate::api::parse;
use crate::app::App;
use crate::auth::Account;
use crate::error::ApiError;
use crate::stream::limits::ID_BYTES_MAX;
use crate::stream::topic::Key;
use crate::stream::words::DEPTHS;
use gollem_projections::queries::INTERVALS;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

/// What every message has, and the channel, by which subscriptions are counted.
#[derive(Debug, Deserialize)]
pub(super) struct Head {
    pub(super) op: String,
    pub(super) id: Option<Value>,
    pub(super) channel: Option<String>,
}

/// Declares a message: `op` and `id` were read before, the fields are those of the operation.
macro_rules! message {
    ($(#[$doc:meta])* $name:ident { $($(#[$attribute:meta])* $field:ident: $kind:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $name {
            #[serde(rename = "op")]
            _op: IgnoredAny,
            #[serde(rename = "id")]
            _id: Option<IgnoredAny>,
            $($(#[$attribute])* pub(super) $field: $kind,)*
        }
    };
}

message!(
    /// Nothing more.
    Ping {}
);
message!(Auth { key: String });
message!(
    /// A channel; for `subscribe` also where to go on.
    Channel {
        channel: String,
        instrument: Option<String>,
        depth: Option<usize>,
        interval: Option<String>,
        from: Option<u64>,
    }
);
message!(Place { order: PlaceOrder });
message!(Cancel { order_id: String });
message!(Replace { order_id: String, price: Option<String>, quantity: Option<u64> });
message!(CancelAll { instrument: Option<String>, side: Option<String> });
message!(
    /// Without a time the timer is cleared.
    CancelAfter { after_ms: Option<u64> }
);
message!(CancelOnDisconnect { enable: bool });

/// Reads `op`, `id` and `channel`.
pub(super) fn head(text: &[u8]) -> Result<Head, ApiError> {
    let head: Head = parse(text)?;
    let fits = match &head.id {
        None | Some(Value::Null) => true,
        Some(Value::Number(number)) => number.is_u64() || number.is_i64(),
        Some(Value::String(text)) => text.len() <= ID_BYTES_MAX,
        Some(_) => false,
    };
    if fits {
        return Ok(head);
    }
    Err(ApiError::invalid("id", format!("id must be a whole number or text of at most {ID_BYTES_MAX} bytes")))
}

impl Channel {
    /// Which channel is meant; `account` is the caller's, once it is known.
    pub(super) fn key(&self, app: &App, account: impl FnOnce() -> Result<Account, ApiError>) -> Result<Key, ApiError> {
        let listed = || {
            let symbol = self.instrument.as_deref();
            let symbol = symbol.ok_or_else(|| ApiError::invalid("instrument", "this channel needs an instrument"))?;
            Ok::<_, ApiError>(instrument(&app.catalog, "instrument", symbol)?.id)
        };
        let key = match self.channel.as_str() {
            "book" => Key::Book(listed()?, place("depth", &DEPTHS, self.depth.unwrap_or(100))?),
            "trades" => Key::Trades(listed()?),
            "candles" => {
                Key::Candles(listed()?, place("interval", &INTERVALS, self.interval.as_deref().unwrap_or("1m"))?)
            }
            "ticker" => Key::Ticker(listed()?),
            "orders" => Key::Orders(account()?.id),
            "fills" => Key::Fills(account()?.id),
            "balances" => Key::Balances(account()?.id),
            _ => {
                let message = "channel must be book, trades, candles, ticker, orders, fills or balances";
                return Err(ApiError::invalid("channel", message));
            }
        };
        let is_private = matches!(key, Key::Orders(_) | Key::Fills(_) | Key::Balances(_));
        let misplaced = [
            ("instrument", self.instrument.is_some() && is_private),
            ("depth", self.depth.is_some() && !matches!(key, Key::Book(..))),
            ("interval", self.interval.is_some() && !matches!(key, Key::Candles(..))),
        ];
        match misplaced.iter().find(|(_, misplaced)| *misplaced) {
            Some((field, _)) => {
                Err(ApiError::invalid(*field, format!("{field} does not belong to channel {}", self.channel)))
            }
            None => Ok(key),
        }
    }
}

/// The place of a value among those that may be named.
fn place<T: PartialEq + std::fmt::Display>(field: &str, known: &[T], value: T) -> Result<usize, ApiError> {
    known.iter().position(|known| *known == value).ok_or_else(|| {
        let known: Vec<String> = known.iter().map(T::to_string).collect();
        ApiError::invalid(field, format!("{field} must be one of {}", known.join(", ")))
    })
}
