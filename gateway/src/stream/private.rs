//! The accounts that somebody watches: their open orders and balances as of the last input, and what changed.
//!
//! Most events name an order and not its owner, so the open orders of a watched account are known here. They are looked up
//! in the views when the account is first watched, while inputs go on: meanwhile what happens is kept, and what the views
//! did not reflect yet is applied on top.

use crate::stream::limits::ITEMS_MAX;
use crate::stream::recent::Recent;
use crate::stream::topic::{Content, Key, Topic};
use crate::stream::words;
use gollem_engine::{AccountId, Balance, Event, InstrumentId, OrderId, Quantity, Side, Timestamp, Trade};
use gollem_projections::words::{credits_per_unit, micros, order_json, position, side_name};
use gollem_projections::{OrderRow, OrderStatus, add_to_balance};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

/// An input that is being applied.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) seq: u64,
    pub(super) index: u32,
    pub(super) at: Timestamp,
}

/// The watched accounts.
#[derive(Debug, Default)]
pub(super) struct Private {
    accounts: HashMap<AccountId, Watched>,
    owners: HashMap<OrderId, AccountId>,
    touched: BTreeSet<AccountId>,
    /// Fills and changed orders that were not told yet.
    pub(super) gathered: usize,
    recent: Recent,
}

/// An account as the views have it after input `seq`.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) seq: u64,
    pub(super) orders: Vec<OrderRow>,
    pub(super) balance: Balance,
}

#[derive(Debug, Default)]
struct Watched {
    orders: HashMap<OrderId, OrderRow>,
    balance: Balance,
    changed: BTreeSet<OrderId>,
    fills: Vec<Fill>,
    moved: bool,
    topics: [Option<Arc<Topic>>; 3],
}

#[derive(Debug)]
struct Fill {
    now: Now,
    trade: Trade,
    side: Side,
}

impl Private {
    /// Whether the account's state is known.
    pub(super) fn knows(&self, account: AccountId) -> bool {
        self.accounts.contains_key(&account)
    }

    /// Keeps what happens after input `position`, for a look-up; to be followed by [`Private::end_lookup`].
    pub(super) fn begin_lookup(&mut self, position: u64) {
        self.recent.begin(position);
    }

    /// Takes on what was found in the views, if anything was, by a look-up that began at `position`; false when too much
    /// happened meanwhile.
    pub(super) fn end_lookup(&mut self, account: AccountId, position: u64, found: Option<Found>) -> bool {
        let known = found.is_none_or(|found| self.knows(account) || self.take_on(account, found));
        self.recent.end(position);
        known
    }

    fn take_on(&mut self, account: AccountId, found: Found) -> bool {
        let Some(recent) = self.recent.after(found.seq) else { return false };
        let orders: HashMap<OrderId, OrderRow> = found.orders.into_iter().map(|row| (row.order.id, row)).collect();
        let mut alone =
            Private { owners: orders.keys().map(|order| (*order, account)).collect(), ..Private::default() };
        alone.accounts.insert(account, Watched { orders, balance: found.balance, ..Watched::default() });
        for (now, event) in recent {
            alone.apply(*now, event);
        }
        alone.forget_changes();
        self.owners.extend(alone.owners);
        self.accounts.extend(alone.accounts);
        true
    }

    /// What changed before anybody could subscribe is part of the state they begin with.
    fn forget_changes(&mut self) {
        for watched in self.accounts.values_mut() {
            watched.changed.clear();
            watched.fills.clear();
            watched.orders.retain(|_, row| row.is_open());
        }
        let accounts = &self.accounts;
        let is_open = |order: &OrderId, owner: &mut AccountId| accounts[&*owner].orders.contains_key(order);
        self.owners.retain(is_open);
    }

    /// The place of an account's channel.
    pub(super) fn topic(&mut self, key: Key) -> Option<&mut Option<Arc<Topic>>> {
        let (account, place) = match key {
            Key::Orders(account) => (account, 0),
            Key::Fills(account) => (account, 1),
            Key::Balances(account) => (account, 2),
            Key::Book(..) | Key::Trades(_) | Key::Candles(..) | Key::Ticker(_) => return None,
        };
        self.accounts.get_mut(&account).map(|watched| &mut watched.topics[place])
    }

    /// The account's open orders.
    #[cfg(test)]
    pub(super) fn orders_of(&self, account: AccountId) -> Vec<OrderRow> {
        self.accounts[&account].orders.values().map(|row| OrderRow { place: None, ..*row }).collect()
    }

    /// What the account's balance is.
    pub(super) fn balance(&self, account: AccountId) -> Option<Value> {
        self.accounts.get(&account).map(|watched| words::balance(&watched.balance))
    }

    pub(super) fn apply(&mut self, now: Now, event: &Event) {
        self.recent.keep(now, event);
        if self.accounts.is_empty() {
            return;
        }
        #[expect(clippy::wildcard_enum_match_arm, reason = "most events are about neither orders nor balances")]
        match event {
            Event::OrderAccepted(order) => {
                if let Some(watched) = self.accounts.get_mut(&order.account) {
                    watched.orders.insert(order.id, OrderRow::accepted(order, now.at));
                    self.owners.insert(order.id, order.account);
                    self.change(order.id, now, |_| {});
                }
            }
            Event::Traded(trade) => {
                self.fill(now, trade, trade.buyer, Side::Bid);
                self.fill(now, trade, trade.provider, Side::Ask);
            }
            Event::OrderRested { order, remaining } | Event::QuoteRestored { order, remaining } => {
                self.change(*order, now, |row| row.order.remaining = *remaining);
            }
            Event::QuoteLocked { ask, quantity, .. } => self.change(*ask, now, |row| shrink(row, *quantity)),
            Event::OrderReplaced { order, price, quantity, remaining } => self.change(*order, now, |row| {
                (row.order.price, row.order.quantity, row.order.remaining) = (*price, *quantity, *remaining);
            }),
            Event::OrderClosed { order, remaining, reason } => self.change(*order, now, |row| {
                row.order.remaining = *remaining;
                row.status = OrderStatus::Closed(*reason);
            }),
            Event::Transferred(transfer) => {
                let (debited, credited) = (transfer.debit.owner(), transfer.credit.owner());
                for account in debited.into_iter().chain(credited.filter(|_| credited != debited)) {
                    let Some(watched) = self.accounts.get_mut(&account) else { continue };
                    add_to_balance(&mut watched.balance, account, transfer.debit, -transfer.amount.0);
                    add_to_balance(&mut watched.balance, account, transfer.credit, transfer.amount.0);
                    watched.moved = true;
                    self.touched.insert(account);
                }
            }
            _ => {}
        }
    }

    fn change(&mut self, order: OrderId, now: Now, change: impl FnOnce(&mut OrderRow)) {
        let Some(account) = self.owners.get(&order).copied() else { return };
        let Some(watched) = self.accounts.get_mut(&account) else { return };
        let Some(row) = watched.orders.get_mut(&order) else { return };
        change(row);
        row.updated_at = now.at;
        self.gathered += usize::from(watched.changed.insert(order));
        self.touched.insert(account);
    }

    fn fill(&mut self, now: Now, trade: &Trade, account: AccountId, side: Side) {
        let order = if side == Side::Bid { trade.bid } else { trade.ask };
        self.change(order, now, |row| {
            row.filled.0 += trade.quantity.0;
            // What was locked left the ask then.
            if side == Side::Bid || !trade.bid.is_of_lock() {
                shrink(row, trade.quantity);
            }
            let value = trade.price.notional(trade.quantity).unwrap_or_default();
            row.value.0 = row.value.0.saturating_add(value.0);
        });
        if let Some(watched) = self.accounts.get_mut(&account) {
            watched.fills.push(Fill { now, trade: *trade, side });
            self.gathered += 1;
            self.touched.insert(account);
        }
    }

    /// Tells what has changed up to input `seq`.
    pub(super) fn flush(&mut self, seq: u64, symbol: &dyn Fn(InstrumentId) -> String) {
        self.gathered = 0;
        for account in std::mem::take(&mut self.touched) {
            let Some(watched) = self.accounts.get_mut(&account) else { continue };
            let [orders, fills, balances] = &watched.topics;
            let changed = std::mem::take(&mut watched.changed);
            if let Some(topic) = orders {
                let row = |id: &OrderId| watched.orders.get(id).map(|row| text(row, symbol));
                publish_items(topic, seq, "orders", changed.iter().filter_map(row).collect());
            }
            for id in &changed {
                if watched.orders.get(id).is_some_and(|row| !row.is_open()) {
                    watched.orders.remove(id);
                    self.owners.remove(id);
                }
            }
            let done = std::mem::take(&mut watched.fills);
            if let Some(topic) = fills {
                publish_items(topic, seq, "fills", done.iter().map(|fill| fill.text(symbol)).collect());
            }
            if let (Some(topic), true) = (balances, std::mem::take(&mut watched.moved)) {
                let balance = words::balance(&watched.balance);
                let update = |_, _: &Content| words::state("update", &topic.name, seq, "balance", &balance);
                topic.publish(seq, Content::State, update);
                topic.wake();
            }
        }
    }

    /// Forgets accounts that nobody has watched for a while.
    pub(super) fn sweep(&mut self, now: Instant) {
        for watched in self.accounts.values_mut() {
            for topic in &mut watched.topics {
                topic.take_if(|topic| Topic::is_idle(topic, now));
            }
        }
        let before = self.accounts.len();
        self.accounts.retain(|_, watched| watched.topics.iter().any(Option::is_some));
        if self.accounts.len() < before {
            let accounts = &self.accounts;
            self.owners.retain(|_, owner| accounts.contains_key(owner));
        }
    }
}

fn shrink(row: &mut OrderRow, units: Quantity) {
    row.order.remaining.0 = row.order.remaining.0.saturating_sub(units.0);
}

fn text(row: &OrderRow, symbol: &dyn Fn(InstrumentId) -> String) -> String {
    Value::Object(order_json(row, &symbol(row.order.instrument))).to_string()
}

impl Fill {
    fn text(&self, symbol: &dyn Fn(InstrumentId) -> String) -> String {
        let (trade, now) = (&self.trade, self.now);
        let order = if self.side == Side::Bid { trade.bid } else { trade.ask };
        let fill = json!({
            "id": position((now.seq, now.index)),
            "at_us": micros(now.at),
            "contract": format!("ctr_{}", trade.contract.0),
            "order": format!("ord_{}", order.0),
            "instrument": symbol(trade.instrument),
            "side": side_name(self.side),
            "liquidity": if trade.taker == self.side { "taker" } else { "maker" },
            "price": credits_per_unit(trade.price),
            "quantity": trade.quantity.0,
            "expires_at_us": micros(trade.expires_at),
        });
        fill.to_string()
    }
}

/// Tells what happened, a bounded number in a message.
pub(super) fn publish_items(topic: &Topic, seq: u64, field: &str, items: Vec<String>) {
    let parts = items.len().div_ceil(ITEMS_MAX);
    for (number, part) in (1..).zip(items.chunks(ITEMS_MAX)) {
        let text = |prev, _: &Content| words::items_update(&topic.name, (prev, seq), field, part, number < parts);
        topic.publish(seq, Content::Items, text);
    }
    if parts > 0 {
        topic.wake();
    }
}
