//! The table of open orders: plain arrays by slot, one cache line an order for what matching reads, a second record for
//! what only placing, replacing and cancelling read, and two of links: of the queue at its price and of its account's
//! list, apart from the rest so that a line of memory has those of eight orders.
//!
//! An order's number carries its slot, so finding it is one comparison; links are slots too. Together 104 bytes an order.

use crate::fingerprint::{Section, TableHash, hash_row};
use crate::flags::Flags;
use crate::ids::{LOCK_SLOT, slot_of, slotted_id};
use crate::prefetch::prefetch;
use crate::slots::{Slots, set_aside};
use crate::{
    AccountId, Attributes, Constraints, GpuClass, InstrumentId, KeyId, NewOrder, OrderId, Precision, Preference, Price,
    Quantity, Region, Terms, TimeInForce, Timestamp,
};
use bincode::{Decode, Encode};
use std::hint::select_unpredictable;

/// An order's slot in the table.
pub(crate) type Slot = u32;

/// No order: the end of a list. It has records as orders have, whose links may be written to and mean nothing, so that
/// linking asks for no ends.
pub(crate) const NONE: Slot = 0;

/// The slot of the order with that number; slots start at 1.
#[inline(always)]
pub(crate) fn slot_named(id: u64) -> usize {
    slot_of(id) + 1
}

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
    /// Ask: effective latency. Bid: most latency accepted. Milliseconds.
    pub(crate) latency_ms: u32,
    /// Ask: effective throughput. Bid: least throughput accepted. Tokens a second.
    pub(crate) throughput_tps: u32,
    pub(crate) flags: Flags,
    /// A good-till-date's end; 0 for others.
    pub(crate) expires_at: Timestamp,
}

/// Neighbours in a list of orders.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) next: Slot,
    pub(crate) prev: Slot,
}

/// What only the order's own commands read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cold {
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

const _: () =
    assert!(size_of::<Hot>() == 64 && size_of::<Cold>() == 24 && size_of::<Link>() == 8, "104 bytes an order");

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
    /// Queues of levels.
    queues: Vec<Link>,
    /// Orders of accounts, oldest first.
    accounts: Vec<Link>,
    slots: Slots,
    hash: TableHash,
    /// Orders and locks numbered so far.
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
        set_aside(&mut self.hot, orders + 1, FREE.0);
        set_aside(&mut self.cold, orders + 1, FREE.1);
        set_aside(&mut self.queues, orders + 1, ALONE);
        set_aside(&mut self.accounts, orders + 1, ALONE);
        self.slots.reserve(orders);
        self.hash.reserve(orders + 1);
    }

    /// What matching reads of the order in that slot.
    #[inline]
    pub(crate) fn hot(&self, slot: Slot) -> &Hot {
        debug_assert!(slot != NONE, "the end of a list is no order");
        &self.hot[slot as usize]
    }

    /// The same, to change; the state hash notices.
    #[inline]
    pub(crate) fn hot_mut(&mut self, slot: Slot) -> &mut Hot {
        debug_assert!(slot != NONE, "the end of a list is no order");
        self.hash.mark(slot as usize);
        &mut self.hot[slot as usize]
    }

    /// The same for flags that are derived, so not state.
    #[inline]
    pub(crate) fn flags_mut(&mut self, slot: Slot) -> &mut Flags {
        &mut self.hot[slot as usize].flags
    }

    /// The queues of levels.
    #[inline(always)]
    pub(crate) fn queues(&mut self) -> &mut [Link] {
        &mut self.queues
    }

    /// The order behind this one in the queue of its level.
    #[inline(always)]
    pub(crate) fn behind(&self, slot: Slot) -> Slot {
        self.queues[slot as usize].next
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
        let slot = slot_named(id.0);
        let known = self.hot.get(slot)?;
        (known.id == id.0 && id.0 != 0).then_some(slot as Slot)
    }

    /// The open order of that number that the account owns.
    #[inline]
    pub(crate) fn find_own(&self, account: AccountId, id: OrderId) -> Option<Slot> {
        self.own(account, id).map(|(slot, _)| slot)
    }

    /// The same with what matching reads of it.
    #[inline(always)]
    pub(crate) fn own(&self, account: AccountId, id: OrderId) -> Option<(Slot, &Hot)> {
        let slot = slot_named(id.0);
        let hot = self.hot.get(slot)?;
        // A free slot has number 0 and may still name its last owner.
        (hot.id == id.0 && hot.account == account && id.0 != 0).then_some((slot as Slot, hot))
    }

    /// Numbers an order that is accepted and gives it a slot, at the end of its account's list.
    #[inline(always)]
    pub(crate) fn open(&mut self, new: &NewOrder, key: KeyId, ticks: u32, list: &mut OrderList) -> Slot {
        let place = self.slots.take();
        self.serial += 1;
        let (id, slot) = (slotted_id(self.serial, place), place + 1);
        self.hash.mark(slot);
        if self.hot.len() <= slot {
            self.grow(slot);
        }
        write_records(&mut self.hot[slot], &mut self.cold[slot], id, new, key, ticks);
        self.join_account(slot as Slot, list); // OPEN_ORDERS_MAX fits.
        slot as Slot
    }

    /// Numbers a bid that locks a quote, which is not put into the table.
    pub(crate) fn number_lock(&mut self) -> OrderId {
        self.serial += 1;
        OrderId(slotted_id(self.serial, LOCK_SLOT))
    }

    #[cold]
    fn grow(&mut self, slot: usize) {
        self.hot.resize(slot + 1, FREE.0);
        self.cold.resize(slot + 1, FREE.1);
        self.queues.resize(slot + 1, ALONE);
        self.accounts.resize(slot + 1, ALONE);
    }

    /// Puts an order at the end of its account's list.
    #[inline(always)]
    fn join_account(&mut self, slot: Slot, list: &mut OrderList) {
        let tail = list.tail;
        self.accounts[slot as usize] = Link { next: NONE, prev: tail };
        self.accounts[tail as usize].next = slot;
        list.head = select_unpredictable(tail == NONE, slot, list.head);
        list.tail = slot;
        list.len += 1;
    }

    /// Frees an order's slot. It has left its book.
    #[inline(always)]
    pub(crate) fn close(&mut self, slot: Slot, list: &mut OrderList) {
        let Link { next, prev } = self.accounts[slot as usize];
        self.accounts[prev as usize].next = next;
        self.accounts[next as usize].prev = prev;
        list.head = select_unpredictable(prev == NONE, next, list.head);
        list.tail = select_unpredictable(next == NONE, prev, list.tail);
        list.len -= 1;
        self.hot_mut(slot).id = 0;
        self.slots.give_back(slot as usize - 1);
    }

    /// Sends an order to the back of the queues.
    #[inline]
    pub(crate) fn retime(&mut self, slot: Slot) {
        self.clock += 1;
        let time = self.clock;
        self.hot_mut(slot).time = time;
    }

    /// Sends an order to the back of a queue at another price; the queues, to put it there.
    #[inline(always)]
    pub(crate) fn rejoin(&mut self, slot: Slot, ticks: u32) -> &mut [Link] {
        self.clock += 1;
        self.hash.mark(slot as usize);
        let hot = &mut self.hot[slot as usize];
        (hot.ticks, hot.time) = (ticks, self.clock);
        &mut self.queues
    }

    /// Marks an order that was just opened as being in a queue, at the back; the queues, to put it there.
    #[inline(always)]
    pub(crate) fn join(&mut self, slot: Slot) -> &mut [Link] {
        self.clock += 1;
        let hot = &mut self.hot[slot as usize];
        hot.time = self.clock;
        hot.flags.0 |= Flags::QUEUED | Flags::BOOKED;
        &mut self.queues
    }

    /// Slots of an account's orders, oldest first.
    pub(crate) fn of_account<'a>(&'a self, list: &OrderList) -> impl Iterator<Item = Slot> + 'a {
        let some = |slot: Slot| (slot != NONE).then_some(slot);
        std::iter::successors(some(list.head), move |slot| some(self.accounts[*slot as usize].next))
    }

    /// Asks for the records of the order in that slot.
    #[inline]
    pub(crate) fn prefetch(&self, slot: usize) {
        prefetch(&self.hot, slot);
        prefetch(&self.queues, slot);
    }

    /// Asks for the records of the order that is placed next.
    #[inline]
    pub(crate) fn prefetch_next(&self) {
        let slot = self.slots.next() + 1;
        self.prefetch(slot);
        prefetch(&self.cold, slot);
        prefetch(&self.accounts, slot);
    }

    /// Asks for the links of its neighbours.
    #[inline]
    pub(crate) fn prefetch_neighbours(&self, slot: Slot) {
        let Link { next, prev } = self.queues[slot as usize];
        prefetch(&self.queues, next as usize);
        prefetch(&self.queues, prev as usize);
        prefetch(&self.accounts, slot as usize);
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
        let hot = self.hot(slot);
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
            expires_at: (hot.expires_at.0 != 0).then_some(hot.expires_at),
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
            expires_at: hot.expires_at,
            key: cold.key,
            category: cold.category,
            weights: cold.weights,
            promised: (cold.promised_latency_ms, cold.promised_throughput_tps),
        })
    }

    /// Puts an order of a snapshot back, at the end of its account's list: rows come oldest order first.
    pub(crate) fn restore(&mut self, row: &OrderRow, list: &mut OrderList) -> Slot {
        let slot = slot_named(row.id);
        self.slots.take_at(slot - 1);
        let hot = Hot {
            id: row.id,
            time: row.time,
            remaining: row.remaining,
            quantity: row.quantity,
            account: row.account,
            instrument: row.instrument,
            ticks: row.ticks,
            latency_ms: row.latency_ms,
            throughput_tps: row.throughput_tps,
            flags: Flags(row.flags.0 & Flags::STATE),
            expires_at: row.expires_at,
        };
        let cold = Cold {
            key: row.key,
            category: row.category,
            weights: row.weights,
            promised_latency_ms: row.promised.0,
            promised_throughput_tps: row.promised.1,
        };
        self.hash.mark(slot);
        if self.hot.len() <= slot {
            self.grow(slot);
        }
        (self.hot[slot], self.cold[slot]) = (hot, cold);
        self.join_account(slot as Slot, list);
        slot as Slot
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

/// The records of a free slot.
const FREE: (Hot, Cold) = (
    Hot {
        id: 0,
        time: 0,
        remaining: 0,
        quantity: 0,
        account: AccountId(0),
        instrument: InstrumentId(0),
        ticks: 0,
        latency_ms: 0,
        throughput_tps: 0,
        flags: Flags(0),
        expires_at: Timestamp(0),
    },
    Cold { key: KeyId(0), category: [0; 3], weights: [0; 3], promised_latency_ms: 0, promised_throughput_tps: 0 },
);

const ALONE: Link = Link { next: NONE, prev: NONE };

/// Writes the records of an order that is accepted: in place, since a copy made right after its parts were written
/// stalls the processor.
#[inline(always)]
fn write_records(hot: &mut Hot, cold: &mut Cold, id: u64, new: &NewOrder, key: KeyId, ticks: u32) {
    let mut flags = Flags::of_self_trade(new.self_trade);
    flags |= u32::from(new.post_only) * Flags::POST_ONLY;
    flags |= u32::from(new.cancel_on_disconnect) * Flags::ON_DISCONNECT;
    flags |= u32::from(key.0 != 0) * Flags::KEYED;
    let mut expires_at = Timestamp(0);
    if let TimeInForce::Gtd(until) = new.time_in_force {
        flags |= Flags::DATED;
        expires_at = until;
    }
    let (latency_ms, throughput_tps, category, weights);
    match &new.terms {
        Terms::Ask { attributes } => {
            (latency_ms, throughput_tps) = (attributes.latency_ms, attributes.throughput_tps);
            category = [attributes.gpu.bit(), attributes.region.bit(), attributes.precision.bit()];
            flags |= Flags::ASK | Flags::category_of(attributes) << Flags::CATEGORY_SHIFT;
            weights = [0; 3];
        }
        Terms::Bid { constraints, preference, single } => {
            flags |= u32::from(*single) * Flags::SINGLE;
            latency_ms = constraints.max_latency_ms.unwrap_or(u32::MAX);
            throughput_tps = constraints.min_throughput_tps.unwrap_or(0);
            category = [constraints.gpus, constraints.regions, constraints.precisions];
            flags |= u32::from(category != [0; 3]) * Flags::PICKY;
            let (kind, of) = match *preference {
                Preference::Price => (0, [0; 3]),
                Preference::Latency => (1, [0; 3]),
                Preference::Throughput => (2, [0; 3]),
                Preference::Weights { price, latency, throughput } => (3, [price, latency, throughput]),
            };
            flags |= kind << Flags::PREFERENCE_SHIFT;
            weights = of;
        }
    }
    hot.id = id;
    hot.time = 0;
    hot.remaining = new.quantity.0;
    hot.quantity = new.quantity.0;
    hot.account = new.account;
    hot.instrument = new.instrument;
    hot.ticks = ticks;
    (hot.latency_ms, hot.throughput_tps) = (latency_ms, throughput_tps);
    hot.flags = Flags(flags);
    hot.expires_at = expires_at;
    cold.key = key;
    cold.category = category;
    cold.weights = weights;
    (cold.promised_latency_ms, cold.promised_throughput_tps) = (latency_ms, throughput_tps);
}
