//! Events and state as lines. A line says all that its event holds; what only echoes the command is asserted here.

use crate::story::Story;
use crate::words::Line;
use gollem_engine::*;

/// First words of lines about the state; all others are about events.
pub(crate) const FACTS: [&str; 7] = ["balance", "book", "order", "contract", "spent", "fees", "next-deadline"];

impl Story {
    /// An event as a line; `sent` is the command of its input.
    pub(crate) fn render(&mut self, event: &Event, sent: &Command) -> String {
        match event {
            Event::Rejected(reason) => format!("refused {}", unpunctuated(reason)),
            Event::AccountOpened { account } => {
                let name = self.naming.take().unwrap_or_else(|| format!("account-{}", account.0));
                self.accounts.push(name);
                assert_eq!(self.accounts.len(), account.0 as usize);
                format!("opened {}", self.name(*account))
            }
            Event::InstrumentListed { instrument, spec } => {
                assert_eq!(*sent, Command::ListInstrument(Box::new(*spec)));
                let name = self.naming.take().expect("listings are named");
                self.instruments.push(name.clone());
                assert_eq!(self.instruments.len(), instrument.0 as usize);
                format!("listed {name}")
            }
            Event::OrderAccepted(order) => self.accepted(order, sent),
            Event::QuoteLocked { .. } => self.locked(event, sent),
            Event::QuoteReleased { lock, refund, reason, .. } => {
                format!("released {} {} refund {}", self.order_name(*lock), reason_name(*reason), refund.0)
            }
            Event::OrderRepeated(answer) => {
                let (filled, rested) = (answer.filled.0, answer.rested.0);
                format!("repeated {} filled {filled} rested {rested}", self.order_name(answer.order))
            }
            Event::Traded(trade) => self.traded(trade),
            Event::OrderRested { order, remaining } => format!("rested {} {}", self.order_name(*order), remaining.0),
            Event::OrderClosed { order, remaining, reason } => {
                let left = part("left", remaining.0 as i64);
                format!("closed {} {}{left}", self.order_name(*order), reason_name(*reason))
            }
            Event::OrderReplaced { order, price, quantity, remaining } => {
                format!("replaced {} {} @ {} left {}", self.order_name(*order), quantity.0, price.0, remaining.0)
            }
            Event::OrdersCancelled { account, count } => format!("cancelled {} {count}", self.name(*account)),
            Event::QuoteRestored { order, remaining } => {
                format!("restored {} {}", self.order_name(*order), remaining.0)
            }
            Event::LevelChanged { instrument, side, price, quantity, orders } => {
                let (side, on) = (side_name(*side), self.on_market(*instrument));
                match orders {
                    0 => format!("level {side} {} gone{on}", price.0),
                    orders => format!("level {side} {} {} {orders}{on}", price.0, quantity.0),
                }
            }
            Event::Delivered { .. } => self.delivered(event, sent),
            Event::ContractClosed { contract, unused, refund, reason } => {
                let (name, reason) = (self.contract_name(*contract), unpunctuated(reason).to_lowercase());
                format!("{reason} {name}{}{}", part("unused", unused.0 as i64), part("refund", refund.0))
            }
            Event::ProviderMeasured { provider, instrument, latency_ms, throughput_tps } => {
                let latency = latency_ms.map_or(String::new(), |latency| format!(" latency {latency}"));
                let tps = throughput_tps.map_or(String::new(), |tps| format!(" tps {tps}"));
                format!("measured {}{latency}{tps}{}", self.name(*provider), self.on_market(*instrument))
            }
            Event::BreakerChanged { provider, instrument, state } => {
                let state = match state {
                    Breaker::Closed => "closed".to_owned(),
                    Breaker::Open { until } => format!("open for {}", until.0 - self.market.now),
                    Breaker::HalfOpen { probes } => format!("half-open {probes}"),
                };
                format!("breaker {} {state}{}", self.name(*provider), self.on_market(*instrument))
            }
            Event::TimerSet { account, timer, at } => {
                let after = at.map_or("off".to_owned(), |at| (at.0 - self.market.now).to_string());
                format!("timer {} {} {after}", self.name(*account), timer_name(*timer))
            }
            Event::TimerFired { account, timer } => {
                format!("timer {} {} fired", self.name(*account), timer_name(*timer))
            }
            Event::InstrumentStateChanged { instrument, state } => {
                let state = match state {
                    InstrumentState::Open => "open",
                    InstrumentState::CancelOnly => "cancel-only",
                    InstrumentState::Halted => "halted",
                };
                format!("state {state}{}", self.on_market(*instrument))
            }
            Event::ReferencePriceSet { instrument, price } => {
                format!("reference-price {}{}", price.0, self.on_market(*instrument))
            }
            Event::Transferred(transfer) => self.transfer(transfer),
            other => self.render_money(other),
        }
    }

    fn render_money(&self, event: &Event) -> String {
        match event {
            Event::CreditsPurchased { account, amount, reference } => {
                format!("purchased {} {} {}", self.name(*account), amount.0, text(reference))
            }
            Event::PurchaseRepeated { reference } => format!("purchase-repeated {}", text(reference)),
            Event::PurchaseRefunded { account, amount, reference } => {
                format!("refunded {} {} {}", self.name(*account), amount.0, text(reference))
            }
            Event::RefundFailed { account, amount, reference } => {
                format!("refund-failed {} {} {}", self.name(*account), amount.0, text(reference))
            }
            Event::RefundRepeated { reference } => format!("refund-repeated {}", text(reference)),
            Event::DisputeOpened { account, amount, reference } => {
                format!("disputed {} {} {}", self.name(*account), amount.0, text(reference))
            }
            Event::DisputeRepeated { reference } => format!("dispute-repeated {}", text(reference)),
            Event::DisputeResolved { account, amount, reference, won } => {
                let how = if *won { "won" } else { "lost" };
                format!("resolved {} {} {} {how}", self.name(*account), amount.0, text(reference))
            }
            Event::PayoutRequested { payout, account, amount } => {
                format!("payout {} requested {} {}", payout.0, self.name(*account), amount.0)
            }
            Event::PayoutSent { payout, .. } => format!("payout {} sent", payout.0),
            Event::PayoutConfirmed { payout, .. } => format!("payout {} confirmed", payout.0),
            Event::PayoutFailed { payout, .. } => format!("payout {} failed", payout.0),
            Event::PayoutReturned { payout, .. } => format!("payout {} returned", payout.0),
            Event::PayoutPolicySet { account, policy } => {
                let name = self.name(*account);
                let word = |set, word| if set { word } else { "" };
                let none = word(*policy == PayoutPolicy::default(), " none");
                format!(
                    "payout-policy {name}{}{}{none}",
                    word(policy.automatic, " automatic"),
                    word(policy.monthly, " monthly")
                )
            }
            Event::CreditPolicySet { account, policy } => {
                let renew = if policy.auto_renew { " auto-renew" } else { "" };
                format!("credit-policy {} {}{renew}", self.name(*account), policy.overage_cap.0)
            }
            Event::KeyLimitsSet { account, key, limits } => {
                let limit =
                    |name, limit: Option<Amount>| limit.map_or(String::new(), |max| format!(" {name} {}", max.0));
                let (daily, monthly) = (limit("daily", limits.daily), limit("monthly", limits.monthly));
                format!("key-limits {} {}{daily}{monthly}{}", self.name(*account), key.0, limit("hard", limits.hard))
            }
            Event::GuardRailSet { account, window, limit } => {
                let limit = limit.map_or("none".to_owned(), |limit| limit.0.to_string());
                let minutes = u64::from(limits::GUARD_RAIL_MINUTES[usize::from(*window)]);
                format!("guard-rail {} {} {limit}", self.name(*account), minutes * 60_000_000_000)
            }
            Event::GuardRailsReset { account } => format!("reset-guard-rails {}", self.name(*account)),
            other => unreachable!("{other:?} is rendered elsewhere"),
        }
    }

    /// `accepted X`, with the price if the order named none.
    fn accepted(&mut self, order: &Order, sent: &Command) -> String {
        let new = match sent {
            Command::PlaceOrder(new) => *new,
            Command::PlaceChosen { order, .. } => **order,
            Command::UseQuote { lock, .. } if *lock == order.id => self.locks[lock],
            _ => panic!("{order:?} accepted by {sent:?}"),
        };
        let echo = Order {
            id: order.id,
            account: new.account,
            key: new.key,
            instrument: new.instrument,
            client_id: new.client_id,
            price: new.limit.unwrap_or(order.price),
            quantity: new.quantity,
            remaining: new.quantity,
            time_in_force: new.time_in_force,
            post_only: new.post_only,
            cancel_on_disconnect: new.cancel_on_disconnect,
            self_trade: new.self_trade,
            terms: new.terms,
        };
        assert_eq!(*order, echo);
        let name = self.order_names.get(&order.id).cloned().unwrap_or_else(|| self.name_order(order.id));
        let at = if new.limit.is_none() { format!(" @ {}", order.price.0) } else { String::new() };
        format!("accepted {name}{at}")
    }

    fn name_order(&mut self, id: OrderId) -> String {
        let name = self.naming.take().unwrap_or_else(|| format!("#{}", self.orders.len() + 1));
        self.orders.insert(name.clone(), id);
        self.order_names.insert(id, name.clone());
        name
    }

    /// `locked L A 10 @ 2 escrow 20`: the lock first, then the ask.
    fn locked(&mut self, event: &Event, sent: &Command) -> String {
        let (
            Event::QuoteLocked { lock, account, key, provider, instrument, ask, price, quantity, escrow, until },
            Command::LockQuote(new),
        ) = (*event, sent)
        else {
            panic!("{event:?} by {sent:?}")
        };
        assert_eq!((account, key, instrument, quantity), (new.account, new.key, new.instrument, new.quantity));
        assert_eq!(until.0, self.market.now + limits::QUOTE_LOCK_NS, "{event:?}");
        assert!(lock.is_of_lock() && !ask.is_of_lock(), "{event:?}");
        assert_eq!(self.market.engine.order(ask).map(|ask| ask.account), Some(provider), "{event:?}");
        self.locks.insert(lock, **new);
        let (name, ask, on) = (self.name_order(lock), self.order_name(ask), self.on_market(instrument));
        format!("locked {name} {ask} {} @ {} escrow {}{on}", quantity.0, price.0, escrow.0)
    }

    /// `trade X A 50 @ 2`: the arriving order first. Its contract is called `bid/ask`, the next such `bid/ask.2`.
    fn traded(&mut self, trade: &Trade) -> String {
        let find = |id| self.market.engine.instruments().find(|(known, _)| *known == id).map(|(_, spec)| spec);
        let spec = find(trade.instrument).expect("a listed market");
        assert_eq!(trade.expires_at.0, self.market.now + spec.contract_ttl_ns, "{trade:?}");
        let (bid, ask) = (self.order_name(trade.bid), self.order_name(trade.ask));
        let names = (1..).map(|nth| if nth == 1 { format!("{bid}/{ask}") } else { format!("{bid}/{ask}.{nth}") });
        let name = names.into_iter().find(|name| !self.contracts.contains_key(name));
        let name = name.expect("names do not run out");
        self.contracts.insert(name.clone(), trade.contract);
        self.contract_names.insert(trade.contract, name);
        let (taker, maker) = if trade.taker == Side::Bid { (bid, ask) } else { (ask, bid) };
        format!("trade {taker} {maker} {} @ {}{}", trade.quantity.0, trade.price.0, self.on_market(trade.instrument))
    }

    fn delivered(&self, event: &Event, sent: &Command) -> String {
        let (
            Event::Delivered { contract, quantity, earned, fee, buyer_fee, rebate, .. },
            Command::ReportDelivery(report),
        ) = (event, sent)
        else {
            panic!("{event:?} by {sent:?}")
        };
        let echo = Event::Delivered {
            contract: report.contract,
            quantity: report.quantity,
            earned: *earned,
            fee: *fee,
            buyer_fee: *buyer_fee,
            rebate: *rebate,
            first_token_ms: report.first_token_ms,
            throughput_tps: report.throughput_tps,
            outcome: report.outcome,
            tokens: report.tokens,
        };
        assert_eq!(*event, echo);
        let (name, fees) =
            (self.contract_name(*contract), [("fee", fee), ("buyer-fee", buyer_fee), ("rebate", rebate)]);
        let fees: String = fees.iter().map(|(word, amount)| part(word, amount.0)).collect();
        format!("delivered {name} {} earned {}{fees}", quantity.0, earned.0)
    }

    fn transfer(&self, transfer: &Transfer) -> String {
        use LedgerAccount::*;
        use TransferCode as Code;
        let (word, account) = match (transfer.code, transfer.debit, transfer.credit) {
            (Code::Purchase, External, Available(to)) => ("purchase", to),
            (Code::Hold, Available(from), Held(to)) if from == to => ("hold", to),
            (Code::Release, Held(from), Available(to)) if from == to => ("release", to),
            (Code::Escrow, Held(from), Escrow(to)) if from == to => ("escrow", to),
            (Code::Delivery, Escrow(_), Earned(to)) => ("earn", to),
            (Code::DeliveryFee, Escrow(from), Fees) => ("delivery-fee", from),
            (Code::TradeFee, Escrow(from), Fees) => ("trade-fee", from),
            (Code::Rebate, Earned(_), Available(to)) => ("rebate", to),
            (Code::Refund, Escrow(from), Available(to)) if from == to => ("refund", to),
            (Code::PayoutRequest, Earned(from), PayoutPending(to)) if from == to => ("pay-out", to),
            (Code::PayoutConfirm, PayoutPending(from), External) => ("paid-out", from),
            (Code::PayoutReturn, PayoutPending(from), Earned(to)) if from == to => ("pay-back", to),
            (Code::PayoutReturn, External, Earned(to)) => ("came-back", to),
            (Code::PurchaseRefund, Available(from), External) => ("refund-purchase", from),
            (Code::PurchaseRefund, Receivable(from), External) => ("owe", from),
            (Code::RefundReturn, External, Available(to)) => ("return-refund", to),
            (Code::Dispute, Available(from), External) => ("take-back", from),
            (Code::Dispute, Receivable(from), External) => ("owe", from),
            (Code::DisputeReturn, External, Available(to)) => ("give-back", to),
            (Code::Overage, Receivable(from), Available(to)) if from == to => ("borrow", to),
            (Code::Repay, Available(from), Receivable(to)) if from == to => ("repay", to),
            _ => return format!("{transfer:?} is no movement of its code"),
        };
        format!("{word} {} {}", self.name(account), transfer.amount.0)
    }

    /// A line about the state, with what is true in it.
    pub(crate) fn fact(&mut self, line: &mut Line) -> String {
        let mut words = vec![line.word("a fact").to_owned()];
        match words[0].as_str() {
            "balance" => {
                let balance = {
                    let account = self.account(&mut line.clone());
                    self.market.balance(account)
                };
                words.push(line.word("an account").to_owned());
                while let Some(field) = line.next() {
                    let amount = match field {
                        "available" => balance.available,
                        "held" => balance.held,
                        "escrow" => balance.escrow,
                        "earned" => balance.earned,
                        "pending" => balance.payout_pending,
                        "owed" => balance.owed,
                        _ => line.fail(&format!("{field:?} is no balance")),
                    };
                    line.number::<i64>();
                    words.extend([field.to_owned(), amount.0.to_string()]);
                }
            }
            "book" => {
                let side = line.word("asks or bids");
                let which = if side == "asks" { Side::Ask } else { Side::Bid };
                words.push(side.to_owned());
                let levels = self.market.engine.levels(InstrumentId(1), which);
                words.extend(levels.iter().map(|(price, units, _)| format!("{}@{}", units.0, price.0)));
                words.extend(levels.is_empty().then(|| "empty".to_owned()));
            }
            "order" => {
                let order = self.market.engine.order(self.order(&mut line.clone()));
                words.push(line.word("an order").to_owned());
                words.push(match order {
                    Some(order) if order.parked => format!("parked {}", order.remaining.0),
                    Some(order) => format!("open {}", order.remaining.0),
                    None => "gone".to_owned(),
                });
            }
            "contract" => {
                let contract = self.market.engine.contract(self.contract(&mut line.clone())).copied();
                words.push(line.word("a contract").to_owned());
                let left = |contract: Contract| format!("left {} escrow {}", contract.remaining.0, contract.escrow.0);
                words.push(contract.map_or("gone".to_owned(), left));
            }
            "spent" => {
                let account = self.account(&mut line.clone());
                words.push(line.word("an account").to_owned());
                let nanoseconds: u64 = line.number();
                let windows = self.market.engine.spending_windows(account);
                let window = windows.iter().find(|window| u64::from(window.0) == nanoseconds / 60_000_000_000);
                let window = window.unwrap_or_else(|| line.fail("no such window"));
                words.push(format!("{nanoseconds} {}", window.1.0));
            }
            "next-deadline" => {
                let at = self.market.engine.next_deadline();
                words.push(
                    at.map_or("none".to_owned(), |at| (i128::from(at.0) - i128::from(self.market.now)).to_string()),
                );
            }
            _ => words.push(self.market.engine.fees().to_string()),
        }
        words.join(" ")
    }

    fn name(&self, account: AccountId) -> &str {
        &self.accounts[account.0 as usize - 1]
    }

    fn order_name(&self, id: OrderId) -> String {
        self.order_names[&id].clone()
    }

    fn contract_name(&self, id: ContractId) -> String {
        self.contract_names[&id].clone()
    }

    /// Nothing for the first market, ` on small` for others.
    fn on_market(&self, instrument: InstrumentId) -> String {
        if instrument.0 == 1 { String::new() } else { format!(" on {}", self.instruments[instrument.0 as usize - 1]) }
    }
}

fn part(word: &str, number: i64) -> String {
    if number == 0 { String::new() } else { format!(" {word} {number}") }
}

fn side_name(side: Side) -> &'static str {
    if side == Side::Bid { "bid" } else { "ask" }
}

fn timer_name(timer: Timer) -> &'static str {
    if timer == Timer::DeadMan { "dead-man" } else { "connection" }
}

fn reason_name(reason: CloseReason) -> &'static str {
    match reason {
        CloseReason::Filled => "filled",
        CloseReason::Cancelled => "cancelled",
        CloseReason::Unfilled(Miss::EmptyBook) => "unfilled empty-book",
        CloseReason::Unfilled(Miss::Price) => "unfilled price",
        CloseReason::Unfilled(Miss::Constraints) => "unfilled constraints",
        CloseReason::Unfilled(Miss::Capacity) => "unfilled capacity",
        CloseReason::Expired => "expired",
        CloseReason::SelfTrade => "self-trade",
        CloseReason::DeadMan => "dead-man",
        CloseReason::Disconnected => "disconnected",
        CloseReason::Disputed => "disputed",
    }
}

fn text(reference: &Reference) -> String {
    String::from_utf8_lossy(&reference.0).trim_end_matches('\0').to_owned()
}

/// `PriceOutOfRange { min: Price(1), max: Price(9) }` as `PriceOutOfRange min 1 max 9`.
fn unpunctuated(value: &impl std::fmt::Debug) -> String {
    let shown = format!("{value:?}");
    let units =
        ["Price(", "Amount(", "Quantity(", "Timestamp("].iter().fold(shown, |text, unit| text.replace(unit, ""));
    let spaced: String = units.chars().map(|letter| if "{}(),:".contains(letter) { ' ' } else { letter }).collect();
    spaced.split_whitespace().collect::<Vec<_>>().join(" ")
}
