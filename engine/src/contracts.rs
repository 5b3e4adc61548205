//! The table of open contracts, and for each market the list of its contracts in the order in which they end.

use crate::fingerprint::{Section, TableHash, hash_row};
use crate::ids::{SLOT_BITS, slot_of, slotted_id};
use crate::slots::{Slots, set_aside};
use crate::{AccountId, Amount, ContractId, InstrumentId, KeyId, OrderId, Price, Quantity, Timestamp, invariant};
use bincode::{Decode, Encode};

/// An open contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Contract {
    /// Who pays.
    pub buyer: AccountId,
    /// Who delivers.
    pub provider: AccountId,
    /// Of what.
    pub instrument: InstrumentId,
    /// The quote it came from.
    pub ask: OrderId,
    /// Atoms a unit.
    pub price: Price,
    /// Units traded.
    pub quantity: Quantity,
    /// Units not yet delivered.
    pub remaining: Quantity,
    /// What is reserved for them, the buyer's fee included.
    pub escrow: Amount,
    /// When it ends by itself.
    pub expires_at: Timestamp,
    /// The buyer's API key whose limits count it.
    pub key: KeyId,
    /// Milliseconds to the first token that the ask promised; 0 for no promise.
    pub latency_ms: u32,
    /// Tokens a second that it promised; 0 for no promise.
    pub throughput_tps: u32,
    /// What the buyer pays on top, in basis points.
    pub buyer_fee_bps: u16,
    /// What the platform keeps of the provider's part, in basis points.
    pub provider_fee_bps: u16,
    /// It tries out a provider whose breaker is half-open.
    pub probe: bool,
}

/// No slot: the end of a list.
const NONE: u32 = u32::MAX;

/// First and last of a market's contracts, the next to end first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ContractList {
    head: u32,
    tail: u32,
}

impl Default for ContractList {
    fn default() -> ContractList {
        ContractList { head: NONE, tail: NONE }
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// 0 in a free slot.
    id: u64,
    contract: Contract,
    next: u32,
    prev: u32,
}

const FREE: Entry = Entry {
    id: 0,
    contract: Contract {
        buyer: AccountId(0),
        provider: AccountId(0),
        instrument: InstrumentId(0),
        ask: OrderId(0),
        price: Price(0),
        quantity: Quantity(0),
        remaining: Quantity(0),
        escrow: Amount::ZERO,
        expires_at: Timestamp(0),
        key: KeyId(0),
        latency_ms: 0,
        throughput_tps: 0,
        buyer_fee_bps: 0,
        provider_fee_bps: 0,
        probe: false,
    },
    next: NONE,
    prev: NONE,
};

/// All open contracts.
#[derive(Debug, Default)]
pub(crate) struct Contracts {
    entries: Vec<Entry>,
    slots: Slots,
    hash: TableHash,
    /// Contracts made so far.
    pub(crate) serial: u64,
}

impl Contracts {
    /// How many are open.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether no number is left for another: the market's rules refuse orders before that, but what rests already may
    /// go on matching.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.slots.len() >= 1 << SLOT_BITS
    }

    /// Memory for so many contracts.
    pub(crate) fn reserve(&mut self, contracts: usize) {
        set_aside(&mut self.entries, contracts, FREE);
        self.slots.reserve(contracts);
        self.hash.reserve(contracts);
    }

    /// Numbers a contract and puts it at the end of its market's list, where it belongs: within a market all live
    /// equally long, and time does not go back.
    #[inline(always)]
    pub(crate) fn open(&mut self, contract: Contract, list: &mut ContractList) -> ContractId {
        let slot = self.slots.take();
        self.serial += 1;
        let id = slotted_id(self.serial, slot);
        self.put(slot, id, contract, list);
        ContractId(id)
    }

    #[inline(always)]
    fn put(&mut self, slot: usize, id: u64, contract: Contract, list: &mut ContractList) {
        self.hash.mark(slot);
        if self.entries.len() <= slot {
            self.grow(slot);
        }
        self.entries[slot] = Entry { id, contract, next: NONE, prev: list.tail };
        let slot = slot as u32; // OPEN_CONTRACTS_MAX fits.
        match list.tail {
            NONE => list.head = slot,
            tail => self.entries[tail as usize].next = slot,
        }
        list.tail = slot;
    }

    #[inline(never)]
    fn grow(&mut self, slot: usize) {
        self.entries.resize(slot + 1, FREE);
    }

    /// Puts a contract of a snapshot back, at the end of its market's list.
    pub(crate) fn restore(&mut self, id: ContractId, contract: Contract, list: &mut ContractList) {
        let slot = slot_of(id.0);
        self.slots.take_at(slot);
        self.put(slot, id.0, contract, list);
    }

    pub(crate) fn get(&self, id: ContractId) -> Option<&Contract> {
        let entry = self.entries.get(slot_of(id.0))?;
        (entry.id == id.0 && id.0 != 0).then_some(&entry.contract)
    }

    /// An open contract, to change.
    pub(crate) fn get_mut(&mut self, id: ContractId) -> &mut Contract {
        let slot = slot_of(id.0);
        self.hash.mark(slot);
        let entry = self.entries.get_mut(slot).filter(|entry| entry.id == id.0);
        &mut invariant(entry, "only an open contract changes").contract
    }

    /// Ends a contract.
    pub(crate) fn close(&mut self, id: ContractId, list: &mut ContractList) {
        let slot = slot_of(id.0);
        self.hash.mark(slot);
        let Entry { next, prev, .. } = self.entries[slot];
        match prev {
            NONE => list.head = next,
            prev => self.entries[prev as usize].next = next,
        }
        match next {
            NONE => list.tail = prev,
            next => self.entries[next as usize].prev = prev,
        }
        self.entries[slot].id = 0;
        self.slots.give_back(slot);
    }

    /// The next of a market's contracts to end by itself, and when.
    pub(crate) fn first(&self, list: &ContractList) -> Option<(ContractId, Timestamp)> {
        let entry = self.entries.get(list.head as usize)?;
        Some((ContractId(entry.id), entry.contract.expires_at))
    }

    /// Whether no open contract has that number's slot.
    pub(crate) fn is_free(&self, id: ContractId) -> bool {
        self.entries.get(slot_of(id.0)).is_none_or(|entry| entry.id == 0)
    }

    /// A market's contracts, the next to end first.
    pub(crate) fn of_market<'a>(
        &'a self,
        list: &ContractList,
    ) -> impl Iterator<Item = (ContractId, &'a Contract)> + use<'a> {
        let entries =
            std::iter::successors(self.entries.get(list.head as usize), |entry| self.entries.get(entry.next as usize));
        entries.map(|entry| (ContractId(entry.id), &entry.contract))
    }

    /// All open contracts, by slot.
    pub(crate) fn all(&self) -> impl Iterator<Item = (ContractId, &Contract)> {
        let open = self.entries.iter().filter(|entry| entry.id != 0);
        open.map(|entry| (ContractId(entry.id), &entry.contract))
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
        let entry = self.entries.get(slot).filter(|entry| entry.id != 0);
        entry.map_or(0, |entry| hash_row(Section::Contracts, &(entry.id, entry.contract)))
    }
}
