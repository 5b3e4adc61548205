//! The pricing policy: what to ask, from what the agent sees.
//!
//! A policy is a TOML file, or one price for all times. The price is a pure function of the policy and the
//! [`Conditions`]; `docs/provider.md` is the reference of the file. In order:
//!
//! 1. the base price, lower while the server is idle and higher while it is busy, in proportion;
//! 2. less at night;
//! 3. no more than just below the best rival;
//! 4. up to the next whole step, then within floor and ceiling, which win over all else.
//!
//! All arithmetic is in whole atoms (10^-8 credit) a token.

use rust_decimal::Decimal;
use serde::Deserialize;

use super::price::{Price, PriceError};

/// Highest percentage that a premium may have.
const PREMIUM_PCT_MAX: u32 = 10_000;

/// What a policy looks at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Conditions {
    /// Requests running, in percent of the most that may; 0 to 100.
    pub load_pct: u32,
    /// Hour of the day, UTC; 0 to 23.
    pub hour_utc: u32,
    /// The best ask of anybody else.
    pub best_rival: Option<Price>,
}

/// How prices are made. All prices are bounded by floor and ceiling, and multiples of the step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    base: u64,
    floor: u64,
    ceiling: u64,
    step: u64,
    change_pct_min: u32,
    load: Option<LoadRule>,
    night: Option<NightRule>,
    /// Atoms below the best rival.
    undercut: Option<u64>,
}

/// The file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyFile {
    base: Decimal,
    floor: Decimal,
    ceiling: Decimal,
    step: Option<Decimal>,
    change_pct_min: Option<u32>,
    load: Option<LoadRule>,
    night: Option<NightRule>,
    undercut: Option<UndercutRule>,
}

/// Lower prices while there is little to do, higher ones while there is much.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct LoadRule {
    #[serde(default)]
    idle_below_pct: u32,
    #[serde(default)]
    idle_discount_pct: u32,
    #[serde(default = "all")]
    busy_above_pct: u32,
    #[serde(default)]
    busy_premium_pct: u32,
}

fn all() -> u32 {
    100
}

/// Lower prices from one hour to another.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct NightRule {
    from_hour: u32,
    to_hour: u32,
    discount_pct: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct UndercutRule {
    by: Decimal,
}

/// Why a policy is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// It is not the TOML that a policy is; the parser's words, with line and field.
    #[error("{0}")]
    Format(String),
    /// A field is out of its bounds.
    #[error("{field} {problem}")]
    Field {
        /// Its name, with its table.
        field: &'static str,
        /// What is wrong with it, and the bound.
        problem: String,
    },
}

impl Policy {
    /// One price for all times.
    pub fn fixed(price: Price) -> Self {
        let atoms = price.atoms();
        Policy {
            base: atoms,
            floor: atoms,
            ceiling: atoms,
            step: 1,
            change_pct_min: 0,
            load: None,
            night: None,
            undercut: None,
        }
    }

    /// Reads a policy file.
    ///
    /// # Errors
    ///
    /// Which field is wrong, and its bound.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let file: PolicyFile = toml::from_str(text).map_err(|error| PolicyError::Format(error.to_string()))?;
        let step = atoms("step", file.step.unwrap_or(Decimal::new(1, 2)))?;
        let on_step = |field, usd| {
            let atoms = atoms(field, usd)?;
            let on_step = atoms.is_multiple_of(step);
            on_step.then_some(atoms).ok_or_else(|| wrong(field, "must be a multiple of step"))
        };
        let (floor, ceiling) = (on_step("floor", file.floor)?, on_step("ceiling", file.ceiling)?);
        let base = atoms("base", file.base)?;
        check("floor", floor <= base, "must not be above base")?;
        check("ceiling", ceiling >= base, "must not be below base")?;
        let change_pct_min = file.change_pct_min.unwrap_or(2);
        check("change_pct_min", change_pct_min <= 100, "must be 0 to 100")?;
        file.load.iter().try_for_each(LoadRule::check)?;
        file.night.iter().try_for_each(NightRule::check)?;
        let undercut = file.undercut.map(|rule| atoms("undercut.by", rule.by)).transpose()?;
        Ok(Policy { base, floor, ceiling, step, change_pct_min, load: file.load, night: file.night, undercut })
    }

    /// What to ask now.
    pub fn price(&self, seen: &Conditions) -> Price {
        let mut price = u128::from(self.base);
        if let Some(load) = &self.load {
            price = load.apply(price, seen.load_pct.min(100));
        }
        if let Some(night) = self.night.as_ref().filter(|night| night.covers(seen.hour_utc)) {
            price -= price * u128::from(night.discount_pct) / 100;
        }
        if let Some((by, rival)) = self.undercut.zip(seen.best_rival) {
            price = price.min(u128::from(rival.atoms().saturating_sub(by)));
        }
        let stepped = price.next_multiple_of(u128::from(self.step));
        let bounded = u64::try_from(stepped).unwrap_or(u64::MAX).clamp(self.floor, self.ceiling);
        Price::from_atoms(bounded)
    }

    /// Whether a quote at `old` is to be replaced by one at `new`: small differences are not worth the place in the
    /// queue.
    pub fn is_worth_changing(&self, old: Price, new: Price) -> bool {
        let difference = u128::from(old.atoms().abs_diff(new.atoms()));
        difference > 0 && difference * 100 >= u128::from(old.atoms()) * u128::from(self.change_pct_min)
    }

    /// Whether the price depends on the load.
    pub fn follows_load(&self) -> bool {
        self.load.is_some()
    }

    /// Whether the price depends on the rivals'.
    pub fn undercuts(&self) -> bool {
        self.undercut.is_some()
    }
}

impl LoadRule {
    fn check(&self) -> Result<(), PolicyError> {
        let LoadRule { idle_below_pct, idle_discount_pct, busy_above_pct, busy_premium_pct } = *self;
        check("load.busy_above_pct", busy_above_pct <= 100, "must be 0 to 100")?;
        check("load.idle_below_pct", idle_below_pct <= busy_above_pct, "must not be above load.busy_above_pct")?;
        check("load.idle_discount_pct", idle_discount_pct < 100, "must be 0 to 99")?;
        let problem = format!("must be 0 to {PREMIUM_PCT_MAX}");
        check("load.busy_premium_pct", busy_premium_pct <= PREMIUM_PCT_MAX, &problem)
    }

    fn apply(&self, price: u128, load_pct: u32) -> u128 {
        let share =
            |pct: u32, part: u32, whole: u32| price * u128::from(pct) * u128::from(part) / (100 * u128::from(whole));
        if load_pct < self.idle_below_pct {
            price - share(self.idle_discount_pct, self.idle_below_pct - load_pct, self.idle_below_pct)
        } else if load_pct > self.busy_above_pct {
            price + share(self.busy_premium_pct, load_pct - self.busy_above_pct, 100 - self.busy_above_pct)
        } else {
            price
        }
    }
}

impl NightRule {
    fn check(&self) -> Result<(), PolicyError> {
        check("night.from_hour", self.from_hour < 24, "must be 0 to 23")?;
        check("night.to_hour", self.to_hour < 24, "must be 0 to 23")?;
        check("night.to_hour", self.to_hour != self.from_hour, "must not be night.from_hour: that is no night")?;
        check("night.discount_pct", self.discount_pct < 100, "must be 0 to 99")
    }

    /// From the first hour to just before the last, over midnight if need be.
    fn covers(&self, hour: u32) -> bool {
        if self.from_hour < self.to_hour {
            (self.from_hour..self.to_hour).contains(&hour)
        } else {
            hour >= self.from_hour || hour < self.to_hour
        }
    }
}

fn atoms(field: &'static str, usd: Decimal) -> Result<u64, PolicyError> {
    let price = Price::from_usd_per_million(usd);
    price.map(Price::atoms).map_err(|error: PriceError| wrong(field, &format!("is no price: {error}")))
}

fn wrong(field: &'static str, problem: &str) -> PolicyError {
    PolicyError::Field { field, problem: problem.to_owned() }
}

fn check(field: &'static str, holds: bool, problem: &str) -> Result<(), PolicyError> {
    if holds { Ok(()) } else { Err(wrong(field, problem)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: &str = r#"
        base = "2.00"
        floor = "1.00"
        ceiling = "5.00"
        [load]
        idle_below_pct = 20
        idle_discount_pct = 30
        busy_above_pct = 60
        busy_premium_pct = 100
        [night]
        from_hour = 22
        to_hour = 6
        discount_pct = 25
        [undercut]
        by = "0.01"
    "#;

    /// The price in dollars under [`FULL`] at a load, an hour, and a rival's price.
    fn check_price(load_pct: u32, hour_utc: u32, rival: Option<&str>, expected: &str) {
        let best_rival = rival.map(|usd| usd.parse().unwrap());
        let seen = Conditions { load_pct, hour_utc, best_rival };
        let price = Policy::parse(FULL).unwrap().price(&seen);
        assert_eq!(price.usd_per_million().to_string(), expected, "{seen:?}");
    }

    #[test]
    fn price_follows_load_hour_and_rivals_within_its_bounds() {
        // Load, at noon: 30% less at 0, nothing from 20 to 60, twice as much at 100.
        check_price(0, 12, None, "1.4");
        check_price(10, 12, None, "1.7");
        check_price(20, 12, None, "2");
        check_price(60, 12, None, "2");
        check_price(80, 12, None, "3");
        check_price(100, 12, None, "4");
        check_price(4_000_000, 12, None, "4");
        // Hours: 22 to 5 are night.
        check_price(40, 21, None, "2");
        check_price(40, 22, None, "1.5");
        check_price(40, 0, None, "1.5");
        check_price(40, 5, None, "1.5");
        check_price(40, 6, None, "2");
        check_price(0, 23, None, "1.05");
        // Rivals: a dearer one changes nothing, a cheaper one is undercut down to the floor.
        check_price(40, 12, Some("9"), "2");
        check_price(40, 12, Some("1.80"), "1.79");
        check_price(40, 12, Some("1.795"), "1.79");
        check_price(100, 12, Some("1.80"), "1.79");
        check_price(40, 12, Some("1.00"), "1");
        check_price(40, 12, Some("0.00001"), "1");
    }

    #[test]
    fn ceiling_wins_over_the_premium() {
        let policy = Policy::parse(&FULL.replace("5.00", "3.50")).unwrap();
        let seen = Conditions { load_pct: 100, hour_utc: 12, best_rival: None };
        assert_eq!(policy.price(&seen).usd_per_million().to_string(), "3.5");
    }

    #[test]
    fn night_within_a_day_does_not_pass_midnight() {
        let night = NightRule { from_hour: 1, to_hour: 5, discount_pct: 10 };
        let covered: Vec<u32> = (0..24).filter(|hour| night.covers(*hour)).collect();
        assert_eq!(covered, [1, 2, 3, 4]);
    }

    #[test]
    fn fixed_price_is_the_price_whatever_happens() {
        let price: Price = "1.35".parse().unwrap();
        let policy = Policy::fixed(price);
        for load_pct in [0, 50, 100] {
            let seen = Conditions { load_pct, hour_utc: 3, best_rival: "0.1".parse().ok() };
            assert_eq!(policy.price(&seen), price);
        }
        assert!(!policy.is_worth_changing(price, price));
    }

    #[test]
    fn small_changes_are_not_worth_the_place_in_the_queue() {
        let policy = Policy::parse(FULL).unwrap();
        let worth = |old: &str, new: &str| policy.is_worth_changing(old.parse().unwrap(), new.parse().unwrap());
        assert!(!worth("2.00", "2.00") && !worth("2.00", "2.03") && !worth("2.00", "1.97"));
        assert!(worth("2.00", "2.04") && worth("2.00", "1.96"));
    }

    fn check_refused(from: &str, to: &str, expected: &str) {
        let text = FULL.replace(from, to);
        assert_ne!(text, FULL, "{from} is in it");
        let error = Policy::parse(&text).unwrap_err().to_string();
        assert!(error.contains(expected), "{to}: {error}");
    }

    #[test]
    fn refusal_names_the_field_and_its_bound() {
        check_refused("base = \"2.00\"", "", "missing field `base`");
        check_refused("base", "bass", "unknown field `bass`");
        check_refused("\"2.00\"", "\"dear\"", "base");
        check_refused("\"2.00\"", "0", "base is no price: a price must be above zero");
        check_refused("\"1.00\"", "\"2.01\"", "floor must not be above base");
        check_refused("\"1.00\"", "\"1.001\"", "floor must be a multiple of step");
        check_refused("\"5.00\"", "\"1.99\"", "ceiling must not be below base");
        check_refused(
            "[load]",
            "step = \"0.000001\"\n[load]",
            "step is no price: a price must have at most 5 decimals",
        );
        check_refused("[load]", "change_pct_min = 101\n[load]", "change_pct_min must be 0 to 100");
        check_refused("busy_above_pct = 60", "busy_above_pct = 101", "load.busy_above_pct must be 0 to 100");
        check_refused("idle_below_pct = 20", "idle_below_pct = 61", "must not be above load.busy_above_pct");
        check_refused("idle_discount_pct = 30", "idle_discount_pct = 100", "load.idle_discount_pct must be 0 to 99");
        check_refused("busy_premium_pct = 100", "busy_premium_pct = 10001", "load.busy_premium_pct must be 0 to 10000");
        check_refused("from_hour = 22", "from_hour = 24", "night.from_hour must be 0 to 23");
        check_refused("to_hour = 6", "to_hour = 22", "night.to_hour must not be night.from_hour");
        check_refused("discount_pct = 25", "discount_pct = 100", "night.discount_pct must be 0 to 99");
        check_refused("by = \"0.01\"", "by = \"-1\"", "undercut.by is no price");
        check_refused("idle_below_pct = 20", "idle_below_pct = -1", "idle_below_pct");
    }

    #[test]
    fn example_in_the_documentation_is_a_policy() {
        let page = include_str!("../../../docs/provider.md");
        let example = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let policy = Policy::parse(example).unwrap();
        assert!(policy.follows_load() && policy.undercuts() && policy.night.is_some());
    }
}
