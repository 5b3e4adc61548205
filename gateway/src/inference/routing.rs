//! Which providers a call may go to, and which it goes to first: OpenRouter's `provider` object, and model names that end
//! with `:nitro` (the fastest) or `:floor` (the cheapest).
//!
//! Providers are named as the API names accounts, `acc_7`; a name that is no account's is nobody's, as at OpenRouter. What
//! an exchange cannot promise (`data_collection: "deny"`, `zdr`) is refused, never ignored.

use crate::error::ApiError;
use crate::inference::limits::{Limits, PriceLimit};
use gollem_engine::limits::CHOSEN_PROVIDERS_MAX;
use gollem_engine::{AccountId, Constraints, Precision, Preference, Providers, TokenWeights};
use serde::Deserialize;
use serde_json::{Map, Number, Value};

/// The name that a call has in a request.
const FIELD: &str = "provider";

/// What a caller wishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Routing {
    /// Tried first, in this order.
    order: Vec<AccountId>,
    /// The caller named an order, of whom it may be that none is known here.
    ordered: bool,
    /// Nobody else is tried.
    only: Option<Vec<AccountId>>,
    ignore: Vec<AccountId>,
    /// Whether another one is tried when one fails.
    pub(crate) fallbacks: bool,
    preference: Preference,
    /// As a set of [`Precision::bit`].
    precisions: u16,
    prices: Prices,
    /// Limits that are given up when nobody is within them.
    preferred_latency_ms: Option<u32>,
    preferred_throughput_tps: Option<u32>,
}

impl Default for Routing {
    fn default() -> Routing {
        Routing {
            order: Vec::new(),
            ordered: false,
            only: None,
            ignore: Vec::new(),
            fallbacks: true,
            preference: Preference::Price,
            precisions: 0,
            prices: Prices::default(),
            preferred_latency_ms: None,
            preferred_throughput_tps: None,
        }
    }
}

/// Most US dollars a million tokens, as decimal text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
struct Prices {
    #[serde(default, deserialize_with = "decimal_text")]
    prompt: Option<String>,
    #[serde(default, deserialize_with = "decimal_text")]
    completion: Option<String>,
}

/// The object as it is documented, with fields that mean nothing here left out.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Wire {
    order: Option<Vec<String>>,
    only: Option<Vec<String>>,
    ignore: Option<Vec<String>>,
    allow_fallbacks: Option<bool>,
    data_collection: Option<String>,
    zdr: Option<bool>,
    quantizations: Option<Vec<String>>,
    sort: Option<Sort>,
    max_price: Option<Prices>,
    preferred_min_throughput: Option<Percentiles>,
    preferred_max_latency: Option<Percentiles>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Sort {
    By(String),
    Object { by: String },
}

/// One number, or one for each of some percentiles, of which the strictest to be named counts.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Percentiles {
    One(f64),
    Each(Map<String, Value>),
}

/// One bid of a call: whose asks it may take, and within which limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bid {
    pub(crate) providers: Option<Providers>,
    pub(crate) constraints: Constraints,
    pub(crate) preference: Preference,
}

impl Routing {
    /// Takes the `provider` object out of a request.
    ///
    /// # Errors
    /// 400 for an object that is none, 503 for a promise that nobody here has made.
    pub(crate) fn take(fields: &mut Map<String, Value>) -> Result<Routing, ApiError> {
        match fields.shift_remove(FIELD) {
            None | Some(Value::Null) => Ok(Routing::default()),
            Some(object @ Value::Object(_)) => {
                let wire: Wire = serde_path_to_error::deserialize(object).map_err(|error| {
                    let path = format!("{FIELD}.{}", error.path());
                    ApiError::invalid(path.clone(), format!("{path}: {}", error.inner()))
                })?;
                Routing::of(wire)
            }
            Some(_) => Err(ApiError::invalid(FIELD, "provider must be an object")),
        }
    }

    fn of(wire: Wire) -> Result<Routing, ApiError> {
        if wire.zdr == Some(true) || wire.data_collection.as_deref() == Some("deny") {
            let message = "no provider here has stated what it keeps of a request: leave out provider.zdr and \
                           provider.data_collection, or name providers that you trust in provider.only";
            return Err(ApiError::unavailable("no_provider_with_policy", message));
        }
        let named =
            |names: Option<Vec<String>>| names.unwrap_or_default().iter().filter_map(|name| account(name)).collect();
        Ok(Routing {
            only: wire.only.map(|only| bounded("only", named(Some(only)))).transpose()?,
            ordered: wire.order.as_ref().is_some_and(|order| !order.is_empty()),
            order: bounded("order", named(wire.order))?,
            ignore: bounded("ignore", named(wire.ignore))?,
            fallbacks: wire.allow_fallbacks.unwrap_or(true),
            preference: wire.sort.map_or(Ok(Preference::Price), preference)?,
            precisions: precisions(&wire.quantizations.unwrap_or_default())?,
            prices: wire.max_price.unwrap_or_default(),
            preferred_latency_ms: wire.preferred_max_latency.and_then(|seconds| seconds.strictest(f64::min, 1_000.0)),
            preferred_throughput_tps: wire.preferred_min_throughput.and_then(|tps| tps.strictest(f64::max, 1.0)),
        })
    }

    /// Takes the suffix off a model's name: `:nitro` prefers throughput, `:floor` the price.
    pub(crate) fn take_suffix<'a>(&mut self, model: &'a str) -> &'a str {
        let (name, preference) = match model.rsplit_once(':') {
            Some((name, "nitro")) => (name, Preference::Throughput),
            Some((name, "floor")) => (name, Preference::Price),
            _ => return model,
        };
        self.preference = preference;
        name
    }

    /// The caller's highest price as one of a unit, if the object names one.
    ///
    /// # Errors
    /// 400 for what is no price.
    pub(crate) fn price_limit(&self, weights: &TokenWeights) -> Result<Option<PriceLimit>, ApiError> {
        let sides = [
            (&self.prices.prompt, "provider.max_price.prompt", weights.input),
            (&self.prices.completion, "provider.max_price.completion", weights.output),
        ];
        let mut lowest: Option<PriceLimit> = None;
        for (price, field, weight) in sides {
            let Some(text) = price.as_deref().filter(|_| weight > 0) else { continue };
            let limit = PriceLimit::per_million_tokens(field, text, weight)?;
            lowest = Some(lowest.map_or(limit, |lowest| lowest.lower(limit)));
        }
        Ok(lowest)
    }

    /// The bids of a call that was refused or left by those in `tried`, in order.
    pub(crate) fn bids(&self, limits: &Limits, tried: &[AccountId]) -> Vec<Bid> {
        let hard = Constraints { precisions: self.precisions, ..limits.constraints() };
        let soft = Constraints {
            max_latency_ms: least(hard.max_latency_ms, self.preferred_latency_ms),
            min_throughput_tps: hard.min_throughput_tps.max(self.preferred_throughput_tps),
            ..hard
        };
        let mut bids = Vec::new();
        for providers in self.choices(tried) {
            let bid = |constraints| Bid { providers: providers.clone(), constraints, preference: self.preference };
            if soft != hard {
                bids.push(bid(soft));
            }
            bids.push(bid(hard));
        }
        bids
    }

    /// Whose asks to bid for, in order; `None` is everybody's.
    fn choices(&self, tried: &[AccountId]) -> Vec<Option<Providers>> {
        let may = |provider: &AccountId| {
            !tried.contains(provider)
                && !self.ignore.contains(provider)
                && self.only.as_ref().is_none_or(|only| only.contains(provider))
        };
        let first = self.order.iter().filter(|provider| may(provider));
        let mut choices: Vec<_> = first.map(|provider| Some(Providers::Only(vec![*provider]))).collect();
        if self.ordered && !self.fallbacks {
            return choices;
        }
        let rest = match &self.only {
            Some(only) => {
                let left: Vec<AccountId> = only.iter().copied().filter(|provider| may(provider)).collect();
                if left.is_empty() {
                    return choices;
                }
                Some(Providers::Only(left))
            }
            None => {
                let mut none_of = [&self.ignore, tried].concat();
                none_of.dedup();
                none_of.truncate(CHOSEN_PROVIDERS_MAX);
                (!none_of.is_empty()).then_some(Providers::Except(none_of))
            }
        };
        choices.push(rest);
        choices
    }

    /// Whether the caller named no order of providers to be tried.
    pub(crate) fn is_unordered(&self) -> bool {
        !self.ordered
    }

    /// 503: the caller's own list leaves nobody.
    pub(crate) fn nobody(&self) -> ApiError {
        let message = "no provider is left of those that provider.only and provider.order name; GET /v1/models tells who offers what";
        ApiError::unavailable("no_ask_within_limits", message)
    }
}

fn bounded(name: &str, accounts: Vec<AccountId>) -> Result<Vec<AccountId>, ApiError> {
    // Those that fail are added while the call runs.
    let max = CHOSEN_PROVIDERS_MAX - crate::inference::race::TRIES_MAX;
    if accounts.len() > max {
        return Err(ApiError::invalid(
            format!("{FIELD}.{name}"),
            format!("{FIELD}.{name} may name at most {max} providers"),
        ));
    }
    Ok(accounts)
}

fn preference(sort: Sort) -> Result<Preference, ApiError> {
    let (Sort::By(by) | Sort::Object { by }) = sort;
    match by.as_str() {
        "price" => Ok(Preference::Price),
        "latency" => Ok(Preference::Latency),
        "throughput" => Ok(Preference::Throughput),
        _ => Err(ApiError::invalid("provider.sort", "provider.sort must be price, latency or throughput")),
    }
}

fn precisions(names: &[String]) -> Result<u16, ApiError> {
    let mut set = 0;
    for name in names {
        let name = if name == "unknown" { "unspecified" } else { name };
        let known = Precision::from_name(name).ok_or_else(|| {
            let known = Precision::NAMES.join(", ");
            ApiError::invalid("provider.quantizations", format!("provider.quantizations may name {known}"))
        })?;
        set |= known.bit();
    }
    Ok(set)
}

fn least(one: Option<u32>, other: Option<u32>) -> Option<u32> {
    [one, other].into_iter().flatten().min()
}

fn account(name: &str) -> Option<AccountId> {
    name.strip_prefix("acc_")?.parse().ok().map(AccountId)
}

impl Percentiles {
    /// In whole units of which the request's have `scale`; none of what is no number.
    fn strictest(&self, stricter: fn(f64, f64) -> f64, scale: f64) -> Option<u32> {
        let number = match self {
            Percentiles::One(number) => Some(*number),
            Percentiles::Each(each) => each.values().filter_map(Value::as_f64).reduce(stricter),
        };
        let whole = (number? * scale).round();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the bounds checked here")]
        (whole >= 0.0 && whole <= f64::from(u32::MAX)).then_some(whole as u32)
    }
}

/// A price is a number or a decimal text.
fn decimal_text<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Price {
        Number(Number),
        Text(String),
    }
    Ok(Option::<Price>::deserialize(value)?.map(|price| match price {
        Price::Number(number) => number.to_string(),
        Price::Text(text) => text,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn take(provider: Value) -> Result<Routing, ApiError> {
        let mut fields = Map::from_iter([("provider".to_owned(), provider), ("model".to_owned(), json!("m"))]);
        let routing = Routing::take(&mut fields);
        assert_eq!(fields.keys().collect::<Vec<_>>(), ["model"], "providers do not get to see it");
        routing
    }

    fn choices(provider: Value, tried: &[u32]) -> Vec<Option<Providers>> {
        let tried: Vec<AccountId> = tried.iter().copied().map(AccountId).collect();
        take(provider).unwrap().choices(&tried)
    }

    fn only(accounts: &[u32]) -> Option<Providers> {
        Some(Providers::Only(accounts.iter().copied().map(AccountId).collect()))
    }

    fn except(accounts: &[u32]) -> Option<Providers> {
        Some(Providers::Except(accounts.iter().copied().map(AccountId).collect()))
    }

    #[test]
    fn without_wishes_everybody_may_serve_but_those_that_failed() {
        assert_eq!(choices(json!(null), &[]), [None]);
        assert_eq!(choices(json!({}), &[3]), [except(&[3])]);
        assert_eq!(choices(json!({ "ignore": ["acc_2", "together"] }), &[3]), [except(&[2, 3])]);
    }

    #[test]
    fn named_providers_come_first_in_their_order_and_alone_without_fallbacks() {
        let order = json!({ "order": ["acc_5", "acc_4"] });
        assert_eq!(choices(order.clone(), &[]), [only(&[5]), only(&[4]), None]);
        assert_eq!(choices(order, &[5]), [only(&[4]), except(&[5])]);
        let strict = json!({ "order": ["acc_5", "acc_4"], "allow_fallbacks": false });
        assert_eq!(choices(strict, &[]), [only(&[5]), only(&[4])]);
        let unknown = json!({ "order": ["together"], "allow_fallbacks": false });
        assert_eq!(choices(unknown.clone(), &[]), [], "whom nobody here knows is not everybody");
        assert!(!take(unknown).unwrap().is_unordered());
        assert_eq!(choices(json!({ "order": [], "allow_fallbacks": false }), &[]), [None]);
        let within = json!({ "only": ["acc_4", "acc_6"], "order": ["acc_5", "acc_4"] });
        assert_eq!(choices(within.clone(), &[]), [only(&[4]), only(&[4, 6])]);
        assert_eq!(choices(within, &[4, 6]), []);
        assert_eq!(choices(json!({ "only": ["nobody"] }), &[]), [], "an unknown name is nobody's");
    }

    #[test]
    fn preferred_limits_are_tried_first_and_given_up() {
        let wishes = json!({
            "preferred_max_latency": { "p50": 2, "p99": 0.5 }, "preferred_min_throughput": 50, "sort": { "by": "latency" },
            "quantizations": ["fp8", "unknown"],
        });
        let routing = take(wishes).unwrap();
        let limits = Limits { max_latency_ms: Some(800), ..Limits::default() };
        let bids = routing.bids(&limits, &[]);
        let asked: Vec<_> =
            bids.iter().map(|bid| (bid.constraints.max_latency_ms, bid.constraints.min_throughput_tps)).collect();
        assert_eq!(asked, [(Some(500), Some(50)), (Some(800), None)]);
        assert!(bids.iter().all(|bid| bid.preference == Preference::Latency));
        let set = Precision::from_name("fp8").unwrap().bit() | Precision::default().bit();
        assert!(bids.iter().all(|bid| bid.constraints.precisions == set));
    }

    #[test]
    fn the_lower_of_the_two_prices_counts_as_one_of_a_unit() {
        let weights = TokenWeights { input: 1_000, cached_input: 250, output: 4_000 };
        let limit = |prices: Value| take(json!({ "max_price": prices })).unwrap().price_limit(&weights);
        assert_eq!(limit(json!({})).unwrap(), None);
        assert_eq!(limit(json!({ "prompt": 1.35 })).unwrap().unwrap().price().0, 135_000);
        assert_eq!(limit(json!({ "completion": "5.4" })).unwrap().unwrap().price().0, 135_000);
        assert_eq!(limit(json!({ "prompt": "1.35", "completion": 4 })).unwrap().unwrap().price().0, 100_000);
        let refused = limit(json!({ "prompt": "cheap" })).expect_err("no price");
        assert_eq!(refused.param.as_deref(), Some("provider.max_price.prompt"));
    }

    #[test]
    fn suffixes_prefer_the_fast_or_the_cheap() {
        let mut routing = Routing::default();
        assert_eq!(routing.take_suffix("m:nitro"), "m");
        assert_eq!(routing.preference, Preference::Throughput);
        assert_eq!(routing.take_suffix("m:floor"), "m");
        assert_eq!(routing.preference, Preference::Price);
        assert_eq!(routing.take_suffix("m:8b"), "m:8b");
    }

    #[test]
    fn what_cannot_be_promised_or_read_is_refused_by_name() {
        let code = |provider: Value| {
            let error = take(provider).expect_err("refused");
            (error.code, error.param)
        };
        assert_eq!(code(json!({ "zdr": true })).0, "no_provider_with_policy");
        assert_eq!(code(json!({ "data_collection": "deny" })).0, "no_provider_with_policy");
        assert!(take(json!({ "zdr": false, "data_collection": "allow", "require_parameters": true })).is_ok());
        assert_eq!(code(json!({ "order": "acc_1" })).1.as_deref(), Some("provider.order"));
        assert_eq!(code(json!({ "sort": "size" })).1.as_deref(), Some("provider.sort"));
        assert_eq!(code(json!({ "quantizations": ["fp1"] })).1.as_deref(), Some("provider.quantizations"));
        assert_eq!(code(json!("acc_1")).1.as_deref(), Some("provider"));
        let many: Vec<String> = (0..20).map(|number| format!("acc_{number}")).collect();
        assert_eq!(code(json!({ "ignore": many })).1.as_deref(), Some("provider.ignore"));
    }
}
