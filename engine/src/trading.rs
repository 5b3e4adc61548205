//! Orders: placing, matching, resting, cancelling. One order from command to events reads top to bottom.
//!
//! Invariants: what an account holds is the sum over its open bids of price times remaining; no resting
//! bid and resting ask could trade with each other; trades print at the resting order's price.

use crate::book::{AskRank, BidRank, Level};
use crate::engine::Market;
use crate::limits::{
    ACCOUNT_ATOMS_MAX, OPEN_CONTRACTS_PER_ACCOUNT_MAX, OPEN_ORDERS_MAX, OPEN_ORDERS_PER_ACCOUNT_MAX, PRICE_MAX,
};
use crate::{
    AccountId, Amount, CloseReason, ContractId, Engine, Event, InstrumentId, LedgerAccount, Miss, NewOrder, Order,
    OrderAnswer, OrderId, Price, Quantity, RejectReason, Side, Terms, TimeInForce, Timestamp, Trade, Transfer,
    TransferCode, invariant,
};

/// A resting order's share of a match, before it is carried out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fill {
    maker: OrderId,
    quantity: Quantity,
}

impl Engine {
    /// Accepts, holds, matches and rests an order, or refuses it with nothing changed.
    pub(crate) fn place_order(
        &mut self,
        new: &NewOrder,
        at: Timestamp,
        events: &mut Vec<Event>,
    ) -> Result<(), RejectReason> {
        if let Some(client_id) = new.client_id
            && let Some(answer) = self.answers.get(&(new.account, client_id))
        {
            events.push(Event::OrderRepeated(*answer));
            return Ok(());
        }
        let mut order = self.check_order(new)?;
        self.next_order += 1;
        events.push(Event::OrderAccepted(order));
        if order.side() == Side::Bid {
            self.move_hold(order.account, worst_case(&order), TransferCode::Hold, events);
        }
        let miss = self.match_order(&mut order, at, events);
        let filled = Quantity(order.quantity.0 - order.remaining.0);
        let rests = order.remaining.0 > 0 && order.time_in_force == TimeInForce::Gtc;
        if rests {
            self.rest(order, events);
        } else {
            self.finish_at_once(&order, miss, events);
        }
        if let Some(client_id) = order.client_id {
            let rested = if rests { order.remaining } else { Quantity(0) };
            let answer = OrderAnswer { order: order.id, seq: self.last_seq, filled, rested };
            self.answers.insert((order.account, client_id), answer);
        }
        Ok(())
    }

    /// Every rule an order must meet, in the order in which a refusal names them.
    fn check_order(&self, new: &NewOrder) -> Result<Order, RejectReason> {
        let balance = self.ledger.balance(new.account).ok_or(RejectReason::UnknownAccount)?;
        let market = self.market(new.instrument).ok_or(RejectReason::UnknownInstrument)?;
        let usage = self.usage(new.account);
        if usage.open_orders >= OPEN_ORDERS_PER_ACCOUNT_MAX {
            return Err(RejectReason::TooManyOrders { max: OPEN_ORDERS_PER_ACCOUNT_MAX });
        }
        if self.orders.len() >= OPEN_ORDERS_MAX {
            return Err(RejectReason::TooManyOrders { max: OPEN_ORDERS_MAX as u32 });
        }
        if new.terms.side() == Side::Bid && usage.open_contracts >= OPEN_CONTRACTS_PER_ACCOUNT_MAX {
            return Err(RejectReason::TooManyContracts { max: OPEN_CONTRACTS_PER_ACCOUNT_MAX });
        }
        let quantity_max = market.spec.quantity_max;
        if new.quantity.0 == 0 || new.quantity > quantity_max {
            return Err(RejectReason::QuantityOutOfRange { max: quantity_max });
        }
        if new.limit.is_none() && new.time_in_force != TimeInForce::Ioc {
            return Err(RejectReason::MarketOrderMustBeImmediate);
        }
        let price = check_price(new, market)?;
        let notional = price.notional(new.quantity).filter(|amount| amount.0 <= ACCOUNT_ATOMS_MAX);
        let needed = notional.ok_or(RejectReason::NotionalTooLarge { max: Amount(ACCOUNT_ATOMS_MAX) })?;
        if new.terms.side() == Side::Bid && needed > balance.available {
            return Err(RejectReason::InsufficientCredits { needed, available: balance.available });
        }
        Ok(Order {
            id: OrderId(self.next_order),
            account: new.account,
            instrument: new.instrument,
            client_id: new.client_id,
            price,
            quantity: new.quantity,
            remaining: new.quantity,
            time_in_force: new.time_in_force,
            terms: new.terms,
        })
    }

    /// Trades an arriving order with what rests; says what it lacked, for the case that units are left.
    fn match_order(&mut self, taker: &mut Order, at: Timestamp, events: &mut Vec<Event>) -> Miss {
        let mut fills = std::mem::take(&mut self.fills);
        let miss = self.find_fills(taker, &mut fills);
        self.carry_out(taker, fills, at, events);
        miss
    }

    fn carry_out(&mut self, taker: &mut Order, fills: Vec<Fill>, at: Timestamp, events: &mut Vec<Event>) {
        for fill in &fills {
            self.trade(taker, *fill, at, events);
        }
        self.fills = fills; // Kept for its capacity.
    }

    /// Chooses the resting orders that `taker` trades with, best first. Changes nothing.
    fn find_fills(&self, taker: &Order, fills: &mut Vec<Fill>) -> Miss {
        fills.clear();
        let book = &invariant(self.market(taker.instrument), "an order's instrument is listed").book;
        match taker.terms {
            Terms::Bid { constraints, single } => {
                let candidates = book.asks().take_while(|rank| rank.price <= taker.price);
                let accepts = |ask: &Order, wanted: Quantity| match ask.terms {
                    Terms::Ask { attributes } if !constraints.accept(&attributes) => Err(Miss::Constraints),
                    Terms::Ask { .. } if single && ask.remaining < wanted => Err(Miss::Capacity),
                    Terms::Ask { .. } | Terms::Bid { .. } => Ok(ask.remaining.min(wanted)),
                };
                let floor = if book.asks().next().is_some() { Miss::Price } else { Miss::EmptyBook };
                self.choose(taker.remaining, floor, candidates.map(|rank| rank.order), accepts, fills)
            }
            Terms::Ask { attributes } => {
                let candidates = book.bids().take_while(|rank| rank.price() >= taker.price);
                let accepts = |bid: &Order, offered: Quantity| match bid.terms {
                    Terms::Bid { constraints, .. } if !constraints.accept(&attributes) => Err(Miss::Constraints),
                    Terms::Bid { single, .. } if single && offered < bid.remaining => Err(Miss::Capacity),
                    Terms::Bid { .. } | Terms::Ask { .. } => Ok(bid.remaining.min(offered)),
                };
                let floor = if book.bids().next().is_some() { Miss::Price } else { Miss::EmptyBook };
                self.choose(taker.remaining, floor, candidates.map(|rank| rank.order), accepts, fills)
            }
        }
    }

    /// Walks candidates in priority order and takes from each what `accepts` allows until `left` is used up.
    fn choose(
        &self,
        mut left: Quantity,
        floor: Miss,
        candidates: impl Iterator<Item = OrderId>,
        accepts: impl Fn(&Order, Quantity) -> Result<Quantity, Miss>,
        fills: &mut Vec<Fill>,
    ) -> Miss {
        let mut nearest = floor;
        for maker in candidates {
            if left.0 == 0 {
                break;
            }
            let resting = invariant(self.orders.get(&maker), "every rank in a book is an open order");
            match accepts(resting, left) {
                Ok(quantity) => {
                    left.0 -= quantity.0;
                    nearest = Miss::Capacity;
                    fills.push(Fill { maker, quantity });
                }
                Err(miss) => nearest = nearest.max(miss),
            }
        }
        nearest
    }

    /// Carries out one fill: the maker shrinks or leaves, money moves to escrow, a contract opens.
    fn trade(&mut self, taker: &mut Order, fill: Fill, at: Timestamp, events: &mut Vec<Event>) {
        let quantity = fill.quantity;
        let maker = *invariant(self.orders.get(&fill.maker), "a chosen maker is open");
        taker.remaining.0 -= quantity.0;
        let (bid, ask) = match taker.side() {
            Side::Bid => (*taker, maker),
            Side::Ask => (maker, *taker),
        };
        let ttl_ns = invariant(self.market(taker.instrument), "an order's instrument is listed").spec.contract_ttl_ns;
        let trade = Trade {
            contract: ContractId(self.next_contract),
            instrument: taker.instrument,
            bid: bid.id,
            ask: ask.id,
            buyer: bid.account,
            provider: ask.account,
            taker: taker.side(),
            price: maker.price,
            quantity,
            expires_at: Timestamp(at.0.saturating_add(ttl_ns)),
        };
        self.next_contract += 1;
        events.push(Event::Traded(trade));
        self.fill_maker(maker, quantity, events);
        self.escrow(&bid, &trade, events);
        self.open_contract(&trade);
    }

    /// Takes the fill off the resting order and its level.
    fn fill_maker(&mut self, maker: Order, quantity: Quantity, events: &mut Vec<Event>) {
        let left = Quantity(maker.remaining.0 - quantity.0);
        let level = if left.0 == 0 {
            self.forget(&maker)
        } else {
            invariant(self.orders.get_mut(&maker.id), "a chosen maker is open").remaining = left;
            self.market_mut(maker.instrument).book.reduce(maker.side(), maker.price, quantity)
        };
        if left.0 == 0 {
            events.push(Event::OrderClosed { order: maker.id, remaining: left, reason: CloseReason::Filled });
        }
        events.push(level_changed(&maker, level));
    }

    /// Moves a trade's price into escrow and frees what the bid held above it.
    fn escrow(&mut self, bid: &Order, trade: &Trade, events: &mut Vec<Event>) {
        let paid = invariant(trade.price.notional(trade.quantity), "a fill costs no more than its hold");
        let held = invariant(bid.price.notional(trade.quantity), "a fill's hold is part of the order's");
        let transfer = Transfer {
            debit: LedgerAccount::Held(bid.account),
            credit: LedgerAccount::Escrow(bid.account),
            amount: paid,
            code: TransferCode::Escrow,
        };
        self.ledger.transfer(transfer, events);
        self.move_hold(bid.account, Amount(held.0 - paid.0), TransferCode::Release, events);
    }

    /// Puts what is left of an order into its book.
    fn rest(&mut self, order: Order, events: &mut Vec<Event>) {
        let book = &mut self.market_mut(order.instrument).book;
        let level = match order.terms {
            Terms::Ask { attributes } => {
                book.insert_ask(AskRank::new(order.price, &attributes, order.id), order.remaining)
            }
            Terms::Bid { .. } => book.insert_bid(BidRank::new(order.price, order.id), order.remaining),
        };
        self.orders.insert(order.id, order);
        self.usage_mut(order.account).open_orders += 1;
        events.push(Event::OrderRested { order: order.id, remaining: order.remaining });
        events.push(level_changed(&order, level));
    }

    /// Ends an order that never rested.
    fn finish_at_once(&mut self, order: &Order, miss: Miss, events: &mut Vec<Event>) {
        let reason = if order.remaining.0 == 0 { CloseReason::Filled } else { CloseReason::Unfilled(miss) };
        events.push(Event::OrderClosed { order: order.id, remaining: order.remaining, reason });
        self.release_rest(order, events);
    }

    /// Cancels an open order of the account.
    pub(crate) fn cancel_order(
        &mut self,
        account: AccountId,
        id: OrderId,
        events: &mut Vec<Event>,
    ) -> Result<(), RejectReason> {
        let order = *self.orders.get(&id).filter(|order| order.account == account).ok_or(RejectReason::UnknownOrder)?;
        let level = self.forget(&order);
        let reason = CloseReason::Cancelled;
        events.push(Event::OrderClosed { order: id, remaining: order.remaining, reason });
        events.push(level_changed(&order, level));
        self.release_rest(&order, events);
        Ok(())
    }

    /// Returns units of a closed contract to the ask they came from, if it still rests. They come back as
    /// arriving capacity: a bid that waited for it trades at once.
    pub(crate) fn restore_quote(&mut self, id: OrderId, units: Quantity, at: Timestamp, events: &mut Vec<Event>) {
        let Some(ask) = self.orders.get_mut(&id) else { return };
        ask.remaining.0 += units.0;
        assert!(ask.remaining <= ask.quantity, "a quote never grows beyond what it offered");
        let mut ask = *ask;
        let level = self.market_mut(ask.instrument).book.restore(Side::Ask, ask.price, units);
        events.push(Event::QuoteRestored { order: id, remaining: ask.remaining });
        events.push(level_changed(&ask, level));
        let mut fills = std::mem::take(&mut self.fills);
        self.find_fills(&ask, &mut fills);
        if fills.is_empty() {
            self.fills = fills;
            return; // Nearly always: only a bid that this quote was too small for can be waiting.
        }
        let level = self.forget(&ask);
        events.push(level_changed(&ask, level));
        self.carry_out(&mut ask, fills, at, events);
        if ask.remaining.0 > 0 {
            self.rest(ask, events);
        } else {
            events.push(Event::OrderClosed { order: id, remaining: Quantity(0), reason: CloseReason::Filled });
        }
    }

    /// Takes a resting order out of the book and the table; returns its level's new totals.
    fn forget(&mut self, order: &Order) -> Level {
        let known = self.orders.remove(&order.id);
        assert!(known.is_some(), "only an open order leaves");
        self.usage_mut(order.account).open_orders -= 1;
        let book = &mut self.market_mut(order.instrument).book;
        match order.terms {
            Terms::Ask { attributes } => {
                book.remove_ask(AskRank::new(order.price, &attributes, order.id), order.remaining)
            }
            Terms::Bid { .. } => book.remove_bid(BidRank::new(order.price, order.id), order.remaining),
        }
    }

    /// Frees what a bid still holds.
    fn release_rest(&mut self, order: &Order, events: &mut Vec<Event>) {
        if order.side() == Side::Bid {
            self.move_hold(order.account, worst_case(order), TransferCode::Release, events);
        }
    }

    fn move_hold(&mut self, account: AccountId, amount: Amount, code: TransferCode, events: &mut Vec<Event>) {
        let (available, held) = (LedgerAccount::Available(account), LedgerAccount::Held(account));
        let (debit, credit) = if code == TransferCode::Hold { (available, held) } else { (held, available) };
        self.ledger.transfer(Transfer { debit, credit, amount, code }, events);
    }

    fn market_mut(&mut self, id: InstrumentId) -> &mut Market {
        let index = crate::ids::dense_index(id.0).and_then(|index| self.markets.get_mut(index));
        invariant(index, "an order's instrument is listed")
    }
}

/// The limit an order trades at: its own, or for a market order the instrument's.
fn check_price(new: &NewOrder, market: &Market) -> Result<Price, RejectReason> {
    let tick = market.spec.tick;
    let Some(price) = new.limit else {
        return Ok(match new.terms.side() {
            Side::Bid => market.spec.reference_price,
            Side::Ask => tick,
        });
    };
    if price < tick || price.0 > PRICE_MAX {
        return Err(RejectReason::PriceOutOfRange { min: tick, max: Price(PRICE_MAX) });
    }
    if !price.0.is_multiple_of(tick.0) {
        return Err(RejectReason::PriceOffTick { tick });
    }
    Ok(price)
}

/// What an open bid holds: its limit for every unit left.
fn worst_case(order: &Order) -> Amount {
    invariant(order.price.notional(order.remaining), "checked when the order was accepted")
}

fn level_changed(order: &Order, level: Level) -> Event {
    Event::LevelChanged {
        instrument: order.instrument,
        side: order.side(),
        price: order.price,
        quantity: level.quantity,
        orders: level.orders,
    }
}
