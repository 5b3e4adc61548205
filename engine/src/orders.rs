//! The table of open orders: two plain arrays by slot, one cache line an order for what matching reads, and a second
//! record for what only placing, replacing and cancelling read.
//!
//! An order's number carries its slot, so finding it is one comparison. The links of the queue at its price and of its
//! account's list are slots too. Together 104 bytes an order.

use crate::fingerprint::{Section, TableHash, hash_row};
use crate::ids::{slot_of, slotted_id};
use crate::slots::Slots;
use crate::{
    AccountId, Attributes, Constraints, GpuClass, InstrumentId, KeyId, OrderId, Precision, Preference, Price, Quantity,
    Region, SelfTrade, Side, Terms, TimeInForce, Timestamp,
};
use bincode::{Decode, Encode};

/// No slot: the end of a list.
pub(crate) const NONE: u32 = u32::MAX;

/// An order's slot in the table.
pub(crate) type Slot = u32;

/// What matching reads of an order.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Hot {
    /// The order's number; 0 in a free slot.
    pub(crate) id: u64,
    /// When it last joined the back of a queue, as a count of such events.
    pub(crate) time: u64,
    /// Units open.
    pub(crate) remaining: u64,
    /// Units ordered.
    pub(crate) quantity: u64,
    pub(crate) account: AccountId,
    pub(crate) instrument: InstrumentId,
    /// Limit in ticks.
    pub(crate) ticks: u32,
    /// Neighbours in the queue of its level.
    pub(crate) next: Slot,
    pub(crate) prev: Slot,
    /// Ask: effective latency. Bid: most latency accepted. Milliseconds.
    pub(crate) latency_ms: u32,
    /// Ask: effective throughput. Bid: least throughput accepted. Tokens a second.
    pub(crate) throughput_tps: u32,
    pub(crate) flags: Flags,
}

/// What only the order's own commands read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cold {
    /// Neighbours in the list of its account's orders, oldest first.
    account_next: Slot,
    account_prev: Slot,
    /// A good-till-date's end; 0 for others.
    pub(crate) expires_at: Timestamp,
    /// The API key whose limits count it.
    pub(crate) key: KeyId,
    /// Bid: acceptable GPU classes, regions, precisions as sets. Ask: its own as such.
    pub(crate) category: [u16; 3],
    /// A bid's weights; 0 when its preference is another.
    weights: [u16; 3],
    /// An ask's promises.
    pub(crate) promised_latency_ms: u32,
    pub(crate) promised_throughput_tps: u32,
}

const _: () = assert!(size_of::<Hot>() == 64 && size_of::<Cold>() == 40, "104 bytes an order");

/// Yes-or-no facts and small enums of an order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Flags(u32);

impl Flags {
    pub(crate) const ASK: u32 = 1;
    pub(crate) const SINGLE: u32 = 1 << 1;
    pub(crate) const POST_ONLY: u32 = 1 << 2;
    pub(crate) const ON_DISCONNECT: u32 = 1 << 3;
    /// The bid accepts only some GPU classes, regions or precisions.
    pub(crate) const PICKY: u32 = 1 << 4;
    /// The ask is out of the book: its provider's breaker is not closed.
    pub(crate) const PARKED: u32 = 1 << 5;
    /// The ask waits for its market to open.
    pub(crate) const WAITS: u32 = 1 << 6;
    /// Rests in the queue of its level rather than in an index. Derived.
    pub(crate) const QUEUED: u32 = 1 << 7;
    /// Is in its book. Derived: an open order that is neither parked nor matching just now.
    pub(crate) const BOOKED: u32 = 1 << 13;
    const SELF_TRADE_SHIFT: u32 = 8;
    const PREFERENCE_SHIFT: u32 = 11;
    /// An API key's limits count it.
    pub(crate) const KEYED: u32 = 1 << 14;
    /// It ends by itself at a time.
    pub(crate) const DATED: u32 = 1 << 15;
    /// An ask's GPU class, region and precision, four bits each.
    const CATEGORY_SHIFT: u32 = 16;
    /// Flags that are state, not derived.
    const STATE: u32 = !(Flags::QUEUED | Flags::BOOKED);

    #[inline]
    pub(crate) fn has(self, flag: u32) -> bool {
        self.0 & flag != 0
    }

    #[inline]
    pub(crate) fn has_all(self, flags: u32) -> bool {
        self.0 & flags == flags
    }

    #[inline]
    pub(crate) fn set(&mut self, flag: u32, on: bool) {
        self.0 = if on { self.0 | flag } else { self.0 & !flag };
    }

    #[inline]
    pub(crate) fn side(self) -> Side {
        if self.has(Flags::ASK) { Side::Ask } else { Side::Bid }
    }

    /// A bid that takes the cheapest first.
    #[inline]
    pub(crate) fn prefers_price(self) -> bool {
        (self.0 >> Flags::PREFERENCE_SHIFT) & 3 == 0
    }

    pub(crate) fn self_trade(self) -> SelfTrade {
        match (self.0 >> Flags::SELF_TRADE_SHIFT) & 7 {
            0 => SelfTrade::CancelNewest,
            1 => SelfTrade::CancelOldest,
            2 => SelfTrade::CancelBoth,
            3 => SelfTrade::Decrement,
            _ => SelfTrade::Allow,
        }
    }

    /// The place of an ask's category among all there can be.
    #[inline]
    pub(crate) fn category(self) -> u32 {
        self.0 >> Flags::CATEGORY_SHIFT
    }

    fn of_self_trade(mode: SelfTrade) -> u32 {
        (mode as u32) << Flags::SELF_TRADE_SHIFT
    }
}

/// An order as it is accepted, before it has a slot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fresh {
    pub(crate) account: AccountId,
    pub(crate) instrument: InstrumentId,
    pub(crate) key: KeyId,
    pub(crate) ticks: u32,
    pub(crate) quantity: u64,
    pub(crate) time_in_force: TimeInForce,
    pub(crate) post_only: bool,
    pub(crate) cancel_on_disconnect: bool,
    pub(crate) self_trade: SelfTrade,
    pub(crate) terms: Terms,
}

/// An order as the state hash and the snapshot see it.
#[derive(Clone, Copy, Debug, Encode, Decode)]
pub(crate) struct OrderRow {
    pub(crate) id: u64,
    pub(crate) time: u64,
    pub(crate) remaining: u64,
    pub(crate) quantity: u64,
    pub(crate) account: AccountId,
    pub(crate) instrument: InstrumentId,
    pub(crate) ticks: u32,
    pub(crate) latency_ms: u32,
    pub(crate) throughput_tps: u32,
    pub(crate) flags: Flags,
    pub(crate) expires_at: Timestamp,
    pub(crate) key: KeyId,
    pub(crate) category: [u16; 3],
    pub(crate) weights: [u16; 3],
    pub(crate) promised: (u32, u32),
}

/// First and last of an account's orders, and how many there are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OrderList {
    pub(crate) head: Slot,
    pub(crate) tail: Slot,
    pub(crate) len: u32,
}

impl Default for OrderList {
    fn default() -> OrderList {
        OrderList { head: NONE, tail: NONE, len: 0 }
    }
}

/// All open orders.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    hot: Vec<Hot>,
    cold: Vec<Cold>,
    slots: Slots,
    hash: TableHash,
    /// Orders accepted so far.
    pub(crate) serial: u64,
    /// Times an order joined the back of a queue so far.
    pub(crate) clock: u64,
}

impl Orders {
    /// How many are open.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Memory for so many orders.
    pub(crate) fn reserve(&mut self, orders: usize) {
        self.hot.reserve(orders);
        self.cold.reserve(orders);
        self.slots.reserve(orders);
        self.hash.reserve(orders);
    }

    /// What matching reads of the order in that slot.
    #[inline]
    pub(crate) fn hot(&self, slot: Slot) -> &Hot {
        &self.hot[slot as usize]
    }

    /// The same, to change; the state hash notices.
    #[inline]
    pub(crate) fn hot_mut(&mut self, slot: Slot) -> &mut Hot {
        self.hash.mark(slot as usize);
        &mut self.hot[slot as usize]
    }

    /// The same for links, which are not state.
    #[inline]
    pub(crate) fn link_mut(&mut self, slot: Slot) -> &mut Hot {
        &mut self.hot[slot as usize]
    }

    /// The API key that counts the order; 0 for none.
    #[inline]
    pub(crate) fn key(&self, slot: Slot) -> KeyId {
        if self.hot(slot).flags.has(Flags::KEYED) { self.cold(slot).key } else { KeyId(0) }
    }

    #[inline]
    pub(crate) fn cold(&self, slot: Slot) -> &Cold {
        &self.cold[slot as usize]
    }

    /// The slot of an open order.
    #[inline]
    pub(crate) fn find(&self, id: OrderId) -> Option<Slot> {
        let slot = slot_of(id.0);
        let known = self.hot.get(slot)?;
        (known.id == id.0 && id.0 != 0).then_some(slot as Slot)
    }

    /// The open order of that number that the account owns.
    #[inline]
    pub(crate) fn find_own(&self, account: AccountId, id: OrderId) -> Option<Slot> {
        self.find(id).filter(|slot| self.hot(*slot).account == account)
    }

    /// Numbers an order and gives it a slot, at the end of its account's list.
    #[inline]
    pub(crate) fn open(&mut self, fresh: &Fresh, list: &mut OrderList) -> Slot {
        let slot = self.slots.take();
        self.serial += 1;
        let id = slotted_id(self.serial, slot);
        let (hot, mut cold) = records(id, fresh);
        cold.account_prev = list.tail;
        self.put(slot, hot, cold);
        let slot = slot as Slot; // OPEN_ORDERS_MAX fits.
        match list.tail {
            NONE => list.head = slot,
            tail => self.cold[tail as usize].account_next = slot,
        }
        list.tail = slot;
        list.len += 1;
        slot
    }

    #[inline]
    fn put(&mut self, slot: usize, hot: Hot, cold: Cold) {
        self.hash.mark(slot);
        while self.hot.len() <= slot {
            self.hot.push(Hot { id: 0, ..hot });
            self.cold.push(cold);
        }
        self.hot[slot] = hot;
        self.cold[slot] = cold;
    }

    /// Frees an order's slot. It has left its book.
    #[inline]
    pub(crate) fn close(&mut self, slot: Slot, list: &mut OrderList) {
        let Cold { account_next: next, account_prev: prev, .. } = self.cold[slot as usize];
        match prev {
            NONE => list.head = next,
            prev => self.cold[prev as usize].account_next = next,
        }
        match next {
            NONE => list.tail = prev,
            next => self.cold[next as usize].account_prev = prev,
        }
        list.len -= 1;
        self.hot_mut(slot).id = 0;
        self.slots.give_back(slot as usize);
    }

    /// Sends an order to the back of the queues.
    #[inline]
    pub(crate) fn retime(&mut self, slot: Slot) {
        self.clock += 1;
        let time = self.clock;
        self.hot_mut(slot).time = time;
    }

    /// Gives an order that left a queue the place, the size and the time at which it joins another.
    #[inline(always)]
    pub(crate) fn rejoin(&mut self, slot: Slot, ticks: u32, quantity: u64, remaining: u64) {
        self.clock += 1;
        let time = self.clock;
        let hot = self.hot_mut(slot);
        (hot.ticks, hot.quantity, hot.remaining, hot.time) = (ticks, quantity, remaining, time);
    }

    /// Slots of an account's orders, oldest first.
    pub(crate) fn of_account<'a>(&'a self, list: &OrderList) -> impl Iterator<Item = Slot> + 'a {
        let some = |slot: Slot| (slot != NONE).then_some(slot);
        std::iter::successors(some(list.head), move |slot| some(self.cold[*slot as usize].account_next))
    }

    /// Reads an order's lines of memory; what it returns means nothing.
    #[inline]
    pub(crate) fn touch(&self, slot: Slot) -> u64 {
        let read = |hot: &Hot| hot.time ^ self.cold.get(slot as usize).map_or(0, |cold| u64::from(cold.account_next));
        self.hot.get(slot as usize).map_or(0, read)
    }

    /// Slots of all orders.
    pub(crate) fn all(&self) -> impl Iterator<Item = Slot> + '_ {
        (0..).zip(&self.hot).filter(|(_, hot)| hot.id != 0).map(|(slot, _)| slot)
    }

    /// A bid's demands.
    pub(crate) fn constraints(&self, slot: Slot) -> Constraints {
        let (hot, cold) = (self.hot(slot), self.cold(slot));
        Constraints {
            max_latency_ms: (hot.latency_ms != u32::MAX).then_some(hot.latency_ms),
            min_throughput_tps: (hot.throughput_tps != 0).then_some(hot.throughput_tps),
            gpus: cold.category[0],
            regions: cold.category[1],
            precisions: cold.category[2],
        }
    }

    /// A bid's preference.
    pub(crate) fn preference(&self, slot: Slot) -> Preference {
        let [price, latency, throughput] = self.cold(slot).weights;
        match (self.hot(slot).flags.0 >> Flags::PREFERENCE_SHIFT) & 3 {
            0 => Preference::Price,
            1 => Preference::Latency,
            2 => Preference::Throughput,
            _ => Preference::Weights { price, latency, throughput },
        }
    }

    /// An ask's promises.
    pub(crate) fn promises(&self, slot: Slot) -> Attributes {
        let cold = self.cold(slot);
        let [gpu, region, precision] = cold.category.map(|bit| bit.trailing_zeros() as u8); // At most 16.
        Attributes {
            latency_ms: cold.promised_latency_ms,
            throughput_tps: cold.promised_throughput_tps,
            gpu: GpuClass(gpu),
            region: Region(region),
            precision: Precision(precision),
        }
    }

    /// The order as a reader outside sees it.
    pub(crate) fn view(&self, slot: Slot, tick: Price) -> crate::OpenOrder {
        let (hot, cold) = (self.hot(slot), self.cold(slot));
        let mut effective = None;
        let terms = if hot.flags.has(Flags::ASK) {
            let attributes = self.promises(slot);
            let (latency_ms, throughput_tps) = (hot.latency_ms, hot.throughput_tps);
            effective = Some(Attributes { latency_ms, throughput_tps, ..attributes });
            Terms::Ask { attributes }
        } else {
            let (constraints, preference) = (self.constraints(slot), self.preference(slot));
            Terms::Bid { constraints, preference, single: hot.flags.has(Flags::SINGLE) }
        };
        crate::OpenOrder {
            id: OrderId(hot.id),
            account: hot.account,
            instrument: hot.instrument,
            price: Price(u64::from(hot.ticks) * tick.0),
            quantity: Quantity(hot.quantity),
            remaining: Quantity(hot.remaining),
            expires_at: (cold.expires_at.0 != 0).then_some(cold.expires_at),
            parked: hot.flags.has(Flags::PARKED),
            terms,
            effective,
        }
    }

    /// The order as the state hash and the snapshot see it; `None` in a free slot.
    pub(crate) fn row(&self, slot: usize) -> Option<OrderRow> {
        let hot = self.hot.get(slot).filter(|hot| hot.id != 0)?;
        let cold = &self.cold[slot];
        Some(OrderRow {
            id: hot.id,
            time: hot.time,
            remaining: hot.remaining,
            quantity: hot.quantity,
            account: hot.account,
            instrument: hot.instrument,
            ticks: hot.ticks,
            latency_ms: hot.latency_ms,
            throughput_tps: hot.throughput_tps,
            flags: Flags(hot.flags.0 & Flags::STATE),
            expires_at: cold.expires_at,
            key: cold.key,
            category: cold.category,
            weights: cold.weights,
            promised: (cold.promised_latency_ms, cold.promised_throughput_tps),
        })
    }

    /// Puts an order of a snapshot back, at the end of its account's list: rows come oldest order first.
    pub(crate) fn restore(&mut self, row: &OrderRow, list: &mut OrderList) -> Slot {
        let slot = slot_of(row.id);
        self.slots.take_at(slot);
        let hot = Hot {
            id: row.id,
            time: row.time,
            remaining: row.remaining,
            quantity: row.quantity,
            account: row.account,
            instrument: row.instrument,
            ticks: row.ticks,
            next: NONE,
            prev: NONE,
            latency_ms: row.latency_ms,
            throughput_tps: row.throughput_tps,
            flags: Flags(row.flags.0 & Flags::STATE),
        };
        let cold = Cold {
            account_next: NONE,
            account_prev: list.tail,
            expires_at: row.expires_at,
            key: row.key,
            category: row.category,
            weights: row.weights,
            promised_latency_ms: row.promised.0,
            promised_throughput_tps: row.promised.1,
        };
        self.put(slot, hot, cold);
        let slot = slot as Slot;
        match list.tail {
            NONE => list.head = slot,
            tail => self.cold[tail as usize].account_next = slot,
        }
        list.tail = slot;
        list.len += 1;
        slot
    }

    /// Hash of the table.
    pub(crate) fn hash(&self) -> u64 {
        self.hash.total(|slot| self.row_hash(slot))
    }

    /// The same, remembered.
    pub(crate) fn refresh_hash(&mut self) -> u64 {
        let mut hash = std::mem::take(&mut self.hash);
        let total = hash.refresh(|slot| self.row_hash(slot));
        self.hash = hash;
        total
    }

    fn row_hash(&self, slot: usize) -> u64 {
        self.row(slot).map_or(0, |row| hash_row(Section::Orders, &row))
    }
}

/// The two records of an order.
#[inline]
fn records(id: u64, fresh: &Fresh) -> (Hot, Cold) {
    let mut flags = Flags::of_self_trade(fresh.self_trade);
    flags |= if fresh.post_only { Flags::POST_ONLY } else { 0 };
    flags |= if fresh.cancel_on_disconnect { Flags::ON_DISCONNECT } else { 0 };
    flags |= if fresh.key.0 != 0 { Flags::KEYED } else { 0 };
    flags |= if matches!(fresh.time_in_force, TimeInForce::Gtd(_)) { Flags::DATED } else { 0 };
    let (latency_ms, throughput_tps, category, weights);
    match fresh.terms {
        Terms::Ask { attributes } => {
            flags |= Flags::ASK;
            (latency_ms, throughput_tps) = (attributes.latency_ms, attributes.throughput_tps);
            category = [attributes.gpu.bit(), attributes.region.bit(), attributes.precision.bit()];
            let [gpu, region, precision] = category.map(u16::trailing_zeros);
            flags |= (gpu | region << 4 | precision << 8) << Flags::CATEGORY_SHIFT;
            weights = [0; 3];
        }
        Terms::Bid { constraints, preference, single } => {
            flags |= if single { Flags::SINGLE } else { 0 };
            latency_ms = constraints.max_latency_ms.unwrap_or(u32::MAX);
            throughput_tps = constraints.min_throughput_tps.unwrap_or(0);
            category = [constraints.gpus, constraints.regions, constraints.precisions];
            flags |= if category == [0; 3] { 0 } else { Flags::PICKY };
            let (kind, of) = match preference {
                Preference::Price => (0, [0; 3]),
                Preference::Latency => (1, [0; 3]),
                Preference::Throughput => (2, [0; 3]),
                Preference::Weights { price, latency, throughput } => (3, [price, latency, throughput]),
            };
            flags |= kind << Flags::PREFERENCE_SHIFT;
            weights = of;
        }
    }
    let hot = Hot {
        id,
        time: 0,
        remaining: fresh.quantity,
        quantity: fresh.quantity,
        account: fresh.account,
        instrument: fresh.instrument,
        ticks: fresh.ticks,
        next: NONE,
        prev: NONE,
        latency_ms,
        throughput_tps,
        flags: Flags(flags),
    };
    let cold = Cold {
        account_next: NONE,
        account_prev: NONE,
        expires_at: match fresh.time_in_force {
            TimeInForce::Gtd(at) => at,
            TimeInForce::Gtc | TimeInForce::Ioc | TimeInForce::Fok => Timestamp(0),
        },
        key: fresh.key,
        category,
        weights,
        promised_latency_ms: latency_ms,
        promised_throughput_tps: throughput_tps,
    };
    (hot, cold)
}
