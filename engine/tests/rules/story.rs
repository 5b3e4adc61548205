//! One case being told: names for what the engine numbers, and commands from lines.
//!
//! Accounts open when first mentioned. The market `gpt` (see [`plain`]) is listed at the first command unless the case
//! lists its own first. Time begins at 0, the first instant of January 1970, and passes by `wait` and `tick` only.
//! `nobody` and `unknown` stand for what does not exist.

use crate::market::{Market, plain};
use crate::words::Line;
use gollem_engine::*;
use std::collections::BTreeMap;

/// The state of a case.
#[derive(Default)]
pub(crate) struct Story {
    pub(crate) market: Market,
    pub(crate) accounts: Vec<String>,
    pub(crate) instruments: Vec<String>,
    pub(crate) orders: BTreeMap<String, OrderId>,
    pub(crate) contracts: BTreeMap<String, ContractId>,
    pub(crate) order_names: BTreeMap<OrderId, String>,
    pub(crate) contract_names: BTreeMap<ContractId, String>,
    /// What locked each quote.
    pub(crate) locks: BTreeMap<OrderId, NewOrder>,
    /// The name that the next accepted order or locked quote, or the next listed instrument, gets.
    pub(crate) naming: Option<String>,
    funds: usize,
    next_key: u32,
}

impl Story {
    /// Carries out one line; returns its events as lines.
    pub(crate) fn perform(&mut self, line: &mut Line) -> Vec<String> {
        if line.takes("repeat") {
            let times: usize = line.number();
            let mut last = Vec::new();
            for _ in 0..times {
                last = self.perform(&mut line.clone());
            }
            return last;
        }
        if line.takes("wait") {
            self.market.now += line.number::<u64>();
            line.end();
            return Vec::new();
        }
        if line.takes("fund") {
            return self.fund(line);
        }
        if self.instruments.is_empty() && line.peek() != Some("instrument") {
            self.list("gpt", plain("gpt"));
        }
        let command = self.command(line);
        line.end();
        self.send(command)
    }

    fn list(&mut self, name: &str, spec: InstrumentSpec) {
        self.naming = Some(name.to_owned());
        self.send(Command::ListInstrument(Box::new(spec)));
    }

    fn send(&mut self, command: Command) -> Vec<String> {
        let events = self.market.send(command.clone());
        assert_eq!(self.market.engine.ledger_sum(), 0, "money was made or lost by {command:?}");
        let lines = events.iter().map(|event| self.render(event, &command)).collect();
        self.naming = None;
        lines
    }

    /// `fund A $5 as R` is one purchase; without a reference as many as it takes.
    fn fund(&mut self, line: &mut Line) -> Vec<String> {
        let (account, amount): (_, i64) = (self.account(line), line.number());
        let name = line.after("as").map(str::to_owned);
        line.end();
        let mut left = amount;
        let mut lines = Vec::new();
        loop {
            self.funds += 1;
            let reference = name.clone().unwrap_or_else(|| format!("fund-{}", self.funds));
            let part = if name.is_some() { left } else { left.min(limits::PURCHASE_ATOMS_MAX) };
            lines.extend(self.send(Command::PurchaseCredits {
                account,
                amount: Amount(part),
                reference: Reference(bytes(&reference)),
            }));
            left -= part;
            if left == 0 || name.is_some() {
                return lines;
            }
        }
    }

    fn command(&mut self, line: &mut Line) -> Command {
        match line.word("a command") {
            "bid" => Command::PlaceOrder(self.place(line, Side::Bid)),
            "ask" => Command::PlaceOrder(self.place(line, Side::Ask)),
            "bid-from" => {
                let providers = self.providers(line);
                Command::PlaceChosen { order: Box::new(self.place(line, Side::Bid)), providers }
            }
            "lock" => Command::LockQuote(Box::new(self.place(line, Side::Bid))),
            "lock-ask" => Command::LockQuote(Box::new(self.place(line, Side::Ask))),
            "use" => Command::UseQuote { account: self.account(line), lock: self.order(line) },
            "release" => Command::ReleaseQuote { account: self.account(line), lock: self.order(line) },
            "replace" => Command::ReplaceOrder(Replacement {
                account: self.account(line),
                order: self.order(line),
                quantity: line.peek().is_some_and(|word| word != "@").then(|| Quantity(line.number())),
                limit: line.takes("@").then(|| Price(line.number())),
            }),
            "cancel" => Command::CancelOrder { account: self.account(line), order: self.order(line) },
            "cancel-all" => {
                let account = self.account(line);
                let bids = line.takes("bids").then_some(Side::Bid);
                let side = bids.or_else(|| line.takes("asks").then_some(Side::Ask));
                let instrument = (line.peek() == Some("on")).then(|| self.on(line));
                Command::CancelOrders { account, instrument, side }
            }
            "deliver" => self.delivery(line),
            "tick" => {
                self.market.now += line.peek().map_or(0, |_| line.number::<u64>());
                Command::Tick
            }
            "timer" => {
                let account = self.account(line);
                let timer = match line.word("a timer") {
                    "dead-man" => Timer::DeadMan,
                    "connection" => Timer::Connection,
                    _ => line.fail("timers are dead-man and connection"),
                };
                Command::SetTimer { account, timer, after_ns: (!line.takes("off")).then(|| line.number()) }
            }
            "state" => {
                let state = match line.word("a state") {
                    "open" => InstrumentState::Open,
                    "cancel-only" => InstrumentState::CancelOnly,
                    "halted" => InstrumentState::Halted,
                    _ => line.fail("states are open, cancel-only and halted"),
                };
                Command::SetInstrumentState { instrument: self.on(line), state }
            }
            "reference-price" => {
                let price = Price(line.number());
                Command::SetReferencePrice { instrument: self.on(line), price }
            }
            "instrument" => self.instrument(line),
            "open-account" => {
                self.naming = line.next().map(str::to_owned);
                Command::OpenAccount
            }
            other => self.money_command(other, line),
        }
    }

    /// `only one,two` or `except one,two`.
    fn providers(&mut self, line: &mut Line) -> Providers {
        let only = line.takes("only");
        if !only && !line.takes("except") {
            line.fail("providers are named after only or except");
        }
        let names = line.word("accounts");
        let named = names.split(',').map(|name| self.account_named(line, name)).collect();
        if only { Providers::Only(named) } else { Providers::Except(named) }
    }

    fn money_command(&mut self, word: &str, line: &mut Line) -> Command {
        match word {
            "refund" => {
                let (purchase, amount) = (reference(line), Amount(line.number()));
                Command::RefundPurchase { purchase, amount, reference: reference_after_as(line) }
            }
            "record-refund" => {
                let (purchase, amount) = (reference(line), Amount(line.number()));
                Command::RecordRefund { purchase, amount, reference: reference_after_as(line) }
            }
            "fail-refund" => Command::FailRefund { reference: reference(line) },
            "dispute" => {
                let (purchase, amount) = (reference(line), Amount(line.number()));
                Command::OpenDispute { purchase, amount, reference: reference_after_as(line) }
            }
            "resolve" => {
                let (reference, won) = (reference(line), line.takes("won"));
                if !won && !line.takes("lost") {
                    line.fail("a dispute is won or lost");
                }
                Command::ResolveDispute { reference, won }
            }
            "payout" => {
                let account = self.account(line);
                Command::RequestPayout { account, amount: line.peek().map(|_| Amount(line.number())) }
            }
            "confirm" => Command::ConfirmPayout { payout: PayoutId(line.number()) },
            "send" => Command::SendPayout { payout: PayoutId(line.number()) },
            "return" => Command::ReturnPayout { payout: PayoutId(line.number()) },
            "fail" => Command::FailPayout { payout: PayoutId(line.number()) },
            "payout-policy" => {
                let account = self.account(line);
                let policy = PayoutPolicy { automatic: line.takes("automatic"), monthly: line.takes("monthly") };
                if policy == PayoutPolicy::default() && !line.takes("none") {
                    line.fail("policies are automatic, monthly and none");
                }
                Command::SetPayoutPolicy { account, policy }
            }
            "credit-policy" => {
                let (account, overage_cap) = (self.account(line), Amount(line.number()));
                Command::SetCreditPolicy {
                    account,
                    policy: CreditPolicy { overage_cap, auto_renew: line.takes("auto-renew") },
                }
            }
            "key-limits" => {
                let account = self.account(line);
                self.next_key += 1;
                let key = if line.takes("next") { self.next_key } else { line.number() };
                let mut limit = |name| line.takes(name).then(|| Amount(line.number()));
                let limits = KeyLimits { daily: limit("daily"), monthly: limit("monthly"), hard: limit("hard") };
                Command::SetKeyLimits { account, key: KeyId(key), limits }
            }
            "guard-rail" => {
                let (account, minutes) = (self.account(line), line.number::<u64>() / 60_000_000_000);
                let all = limits::GUARD_RAIL_MINUTES;
                let window = all.iter().position(|own| u64::from(*own) == minutes).unwrap_or(all.len()) as u8;
                let limit = (!line.takes("none")).then(|| Amount(line.number()));
                Command::SetGuardRail { account, window, limit }
            }
            "reset-guard-rails" => Command::ResetGuardRails { account: self.account(line) },
            _ => line.fail("no such command"),
        }
    }

    fn place(&mut self, line: &mut Line, side: Side) -> NewOrder {
        let (account, quantity) = (self.account(line), Quantity(line.number()));
        let limit = match line.word("a price") {
            "@" => Some(Price(line.number())),
            "market" => None,
            _ => line.fail("a price is written @ 3, or market"),
        };
        let mut new = NewOrder {
            account,
            key: KeyId(0),
            instrument: InstrumentId(1),
            client_id: None,
            limit,
            quantity,
            min_quantity: Quantity(0),
            time_in_force: TimeInForce::Gtc,
            post_only: false,
            cancel_on_disconnect: false,
            self_trade: SelfTrade::default(),
            terms: match side {
                Side::Bid => {
                    Terms::Bid { constraints: Constraints::default(), preference: Preference::Price, single: false }
                }
                Side::Ask => Terms::Ask { attributes: Attributes::default() },
            },
        };
        while let Some(word) = line.peek() {
            match word {
                "on" => new.instrument = self.on(line),
                "as" => {
                    line.next();
                    let name = line.word("a name");
                    if self.orders.contains_key(name) {
                        line.fail("this name is taken");
                    }
                    self.naming = Some(name.to_owned());
                }
                _ => {
                    line.next();
                    if !self.flag(word, &mut new, line) && !terms(word, &mut new.terms, line) {
                        line.fail(&format!("{word:?} says nothing about this order"));
                    }
                }
            }
        }
        new
    }

    /// Reads what either side may say of an order.
    fn flag(&self, word: &str, new: &mut NewOrder, line: &mut Line) -> bool {
        match word {
            "ioc" => new.time_in_force = TimeInForce::Ioc,
            "fok" => new.time_in_force = TimeInForce::Fok,
            "gtd" => new.time_in_force = TimeInForce::Gtd(Timestamp(self.market.now + line.number::<u64>())),
            "min" => new.min_quantity = Quantity(line.number()),
            "post-only" => new.post_only = true,
            "on-disconnect" => new.cancel_on_disconnect = true,
            "key" => new.key = KeyId(line.number()),
            "client" => new.client_id = Some(ClientOrderId(bytes(line.word("an id")))),
            "self-trade" => {
                new.self_trade = match line.word("a mode") {
                    "allow" => SelfTrade::Allow,
                    "cancel-newest" => SelfTrade::CancelNewest,
                    "cancel-oldest" => SelfTrade::CancelOldest,
                    "cancel-both" => SelfTrade::CancelBoth,
                    "decrement" => SelfTrade::Decrement,
                    _ => line.fail("no such mode"),
                }
            }
            _ => return false,
        }
        true
    }

    fn delivery(&mut self, line: &mut Line) -> Command {
        let contract = self.contract(line);
        let quantity = Quantity(line.number());
        let mut report = DeliveryReport {
            contract,
            quantity,
            first_token_ms: None,
            throughput_tps: None,
            outcome: Outcome::Completed,
            tokens: Tokens { input: 374, cached_input: 100, output: 44 },
            last: false,
        };
        while let Some(word) = line.next() {
            match word {
                "latency" => report.first_token_ms = Some(line.number()),
                "tps" => report.throughput_tps = Some(line.number()),
                "abandoned" => report.outcome = Outcome::Abandoned,
                "failed" => report.outcome = Outcome::Failed,
                "last" => report.last = true,
                _ => line.fail(&format!("{word:?} says nothing about a delivery")),
            }
        }
        Command::ReportDelivery(report)
    }

    fn instrument(&mut self, line: &mut Line) -> Command {
        let named = line.peek().filter(|word| word.ends_with(':')).map(|word| word.trim_end_matches(':'));
        let name = named.map_or("gpt".to_owned(), |name| format!("{name}{}", self.unused_suffix(name)));
        if named.is_some() {
            line.next();
        }
        let mut spec = plain(&name);
        while let Some(word) = line.next() {
            match word {
                "symbol" => spec.symbol = Symbol::new(line.word("a symbol")).unwrap_or_else(|| line.fail("bad symbol")),
                "tick" => spec.tick = Price(line.number()),
                "price-max" => spec.price_max = Price(line.number()),
                "reference" => spec.reference_price = Price(line.number()),
                "band" => spec.band_bps = line.number(),
                "lot" => spec.lot = Quantity(line.number()),
                "min" => spec.quantity_min = Quantity(line.number()),
                "max" => spec.quantity_max = Quantity(line.number()),
                "maker" => spec.maker_fee_bps = line.number(),
                "taker" => spec.taker_fee_bps = line.number(),
                "delivery" => spec.delivery_fee_bps = line.number(),
                "tolerance" => spec.tolerance_bps = line.number(),
                "rebate" => spec.rebate_bps = line.number(),
                "ttl" => spec.contract_ttl_ns = line.number(),
                "weights" => {
                    let (input, cached_input, output) = (line.number(), line.number(), line.number());
                    spec.weights = TokenWeights { input, cached_input, output };
                }
                _ => line.fail(&format!("{word:?} is no field of an instrument")),
            }
        }
        self.naming = Some(name);
        Command::ListInstrument(Box::new(spec))
    }

    /// Repeated listings get numbers after their name.
    fn unused_suffix(&self, name: &str) -> String {
        let taken = self.instruments.iter().any(|known| known == name);
        if taken { format!("-{}", self.instruments.len()) } else { String::new() }
    }

    pub(crate) fn account(&mut self, line: &mut Line) -> AccountId {
        let name = line.word("an account");
        self.account_named(line, name)
    }

    fn account_named(&mut self, line: &Line, name: &str) -> AccountId {
        if name == "nobody" {
            return AccountId(u32::MAX);
        }
        if let Some(at) = self.accounts.iter().position(|known| known == name) {
            return AccountId(at as u32 + 1);
        }
        let events = self.market.send(Command::OpenAccount);
        assert!(matches!(events.as_slice(), [Event::AccountOpened { .. }]), "{}: mention {name} earlier", line.place());
        self.accounts.push(name.to_owned());
        AccountId(self.accounts.len() as u32)
    }

    pub(crate) fn order(&self, line: &mut Line) -> OrderId {
        let name = line.word("an order");
        let known = if name == "unknown" { Some(OrderId(u64::MAX)) } else { self.orders.get(name).copied() };
        known.unwrap_or_else(|| line.fail(&format!("no order is called {name}")))
    }

    pub(crate) fn contract(&self, line: &mut Line) -> ContractId {
        let name = line.word("a contract");
        let known = if name == "unknown" { Some(ContractId(u64::MAX)) } else { self.contracts.get(name).copied() };
        known.unwrap_or_else(|| line.fail(&format!("no contract is called {name}")))
    }

    /// `on small`; the first market when nothing is said.
    pub(crate) fn on(&self, line: &mut Line) -> InstrumentId {
        let Some(name) = line.after("on") else { return InstrumentId(1) };
        let known = self.instruments.iter().position(|known| known == name).map(|at| at as u32 + 1);
        let known = if name == "unknown" { Some(u32::MAX) } else { known };
        InstrumentId(known.unwrap_or_else(|| line.fail(&format!("no market is called {name}"))))
    }
}

/// Reads what only one side may say of an order; `latency 400` is what an ask promises and a bid demands.
fn terms(word: &str, terms: &mut Terms, line: &mut Line) -> bool {
    match terms {
        Terms::Ask { attributes } => match word {
            "latency" => attributes.latency_ms = line.number(),
            "tps" => attributes.throughput_tps = line.number(),
            "gpu" => attributes.gpu = one(line, GpuClass::from_name),
            "region" => attributes.region = one(line, Region::from_name),
            "precision" => attributes.precision = one(line, Precision::from_name),
            _ => return false,
        },
        Terms::Bid { constraints, preference, single } => match word {
            "latency" => constraints.max_latency_ms = Some(line.number()),
            "tps" => constraints.min_throughput_tps = Some(line.number()),
            "gpu" => constraints.gpus = set(line, |name| GpuClass::from_name(name).map(GpuClass::bit)),
            "region" => constraints.regions = set(line, |name| Region::from_name(name).map(Region::bit)),
            "precision" => constraints.precisions = set(line, |name| Precision::from_name(name).map(Precision::bit)),
            "single" => *single = true,
            "prefer" => {
                *preference = match line.word("a preference") {
                    "price" => Preference::Price,
                    "latency" => Preference::Latency,
                    "throughput" => Preference::Throughput,
                    _ => line.fail("preferences are price, latency and throughput"),
                }
            }
            "weights" => {
                let (price, latency, throughput) = (line.number(), line.number(), line.number());
                *preference = Preference::Weights { price, latency, throughput };
            }
            _ => return false,
        },
    }
    true
}

fn one<T>(line: &mut Line, from_name: impl Fn(&str) -> Option<T>) -> T {
    let name = line.word("a name");
    from_name(name).unwrap_or_else(|| line.fail(&format!("{name} is not known")))
}

/// `h100,h200`
fn set(line: &mut Line, bit: impl Fn(&str) -> Option<u16>) -> u16 {
    let names = line.word("names");
    names.split(',').fold(0, |all, name| all | bit(name).unwrap_or_else(|| line.fail(&format!("{name} is not known"))))
}

fn reference(line: &mut Line) -> Reference {
    Reference(bytes(line.word("a reference")))
}

fn reference_after_as(line: &mut Line) -> Reference {
    let name = line.after("as").unwrap_or_else(|| line.fail("a reference is given by: as NAME"));
    Reference(bytes(name))
}

/// A name as an id.
fn bytes(name: &str) -> [u8; 16] {
    let mut id = [0; 16];
    id[..name.len()].copy_from_slice(name.as_bytes());
    id
}
