//! Keys of rows: numbers one after the other, big-endian, so that key order is the order people ask for. `store` has the
//! table.

use crate::rows::Place;
use gollem_engine::{AccountId, ClientOrderId, ContractId, InstrumentId, KeyId, OrderId, Price, Side};

/// Bytes one after the other, as many as there is room for.
fn join<const N: usize>(parts: &[&[u8]]) -> [u8; N] {
    let mut key = [0; N];
    for (byte, part) in key.iter_mut().zip(parts.iter().copied().flatten()) {
        *byte = *part;
    }
    key
}

pub(crate) fn account(account: AccountId) -> [u8; 4] {
    account.0.to_be_bytes()
}

pub(crate) fn instrument(instrument: InstrumentId) -> [u8; 4] {
    instrument.0.to_be_bytes()
}

pub(crate) fn order(order: OrderId) -> [u8; 8] {
    order.0.to_be_bytes()
}

pub(crate) fn contract(contract: ContractId) -> [u8; 8] {
    contract.0.to_be_bytes()
}

pub(crate) fn client_id(account: AccountId, id: ClientOrderId) -> [u8; 20] {
    join(&[&account.0.to_be_bytes(), &id.0])
}

/// Something numbered that belongs to an account: an order, a contract, a payout.
pub(crate) fn owned(account: AccountId, number: u64) -> [u8; 12] {
    join(&[&account.0.to_be_bytes(), &number.to_be_bytes()])
}

/// The number of an [`owned`] key.
pub(crate) fn number(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.get(4..)?.try_into().ok()?))
}

/// What happened to an account or an instrument at a position.
pub(crate) fn happened(owner: u32, seq: u64, index: u32) -> [u8; 16] {
    join(&[&owner.to_be_bytes(), &seq.to_be_bytes(), &index.to_be_bytes()])
}

/// The position at the end of a key.
pub(crate) fn position(key: &[u8]) -> Option<(u64, u32)> {
    let (rest, index) = key.split_last_chunk::<4>()?;
    let (_, seq) = rest.split_last_chunk::<8>()?;
    Some((u64::from_be_bytes(*seq), u32::from_be_bytes(*index)))
}

pub(crate) fn key_limits(account: AccountId, key: KeyId) -> [u8; 8] {
    join(&[&account.0.to_be_bytes(), &key.0.to_be_bytes()])
}

/// Bids inverted, so that the best price comes first on either side.
pub(crate) fn level(instrument: InstrumentId, side: Side, price: Price) -> [u8; 13] {
    let (tag, price) = match side {
        Side::Bid => (0, u64::MAX - price.0),
        Side::Ask => (1, price.0),
    };
    join(&[&instrument.0.to_be_bytes(), &[tag], &price.to_be_bytes()])
}

/// What all levels of a side begin with.
pub(crate) fn side(instrument: InstrumentId, side: Side) -> [u8; 5] {
    join(&[&level(instrument, side, Price(0))])
}

pub(crate) fn queued(instrument: InstrumentId, side: Side, price: Price, place: Place) -> [u8; 29] {
    let Place { seq, index, nth } = place;
    join(&[&level(instrument, side, price), &seq.to_be_bytes(), &index.to_be_bytes(), &nth.to_be_bytes()])
}

pub(crate) fn candle(instrument: InstrumentId, seconds: u32, start_s: u64) -> [u8; 16] {
    join(&[&instrument.0.to_be_bytes(), &seconds.to_be_bytes(), &start_s.to_be_bytes()])
}

pub(crate) fn scorecard(provider: AccountId, instrument: InstrumentId) -> [u8; 8] {
    join(&[&provider.0.to_be_bytes(), &instrument.0.to_be_bytes()])
}

/// A model on a day.
pub(crate) fn model_day(instrument: InstrumentId, day: u32) -> [u8; 8] {
    join(&[&instrument.0.to_be_bytes(), &day.to_be_bytes()])
}

/// The provider of a [`scorecard`]'s key.
pub(crate) fn scored_provider(key: &[u8]) -> Option<AccountId> {
    Some(AccountId(u32::from_be_bytes(*key.first_chunk()?)))
}

/// The instrument of a [`scorecard`]'s key.
pub(crate) fn scored(key: &[u8]) -> Option<InstrumentId> {
    Some(InstrumentId(u32::from_be_bytes(*key.last_chunk()?)))
}

pub(crate) fn breaker(provider: AccountId, instrument: InstrumentId, seq: u64, index: u32) -> [u8; 20] {
    join(&[&scorecard(provider, instrument), &seq.to_be_bytes(), &index.to_be_bytes()])
}

pub(crate) fn usage(account: AccountId, day: u32, key: KeyId, instrument: InstrumentId) -> [u8; 16] {
    let InstrumentId(instrument) = instrument;
    join(&[&account.0.to_be_bytes(), &day.to_be_bytes(), &key.0.to_be_bytes(), &instrument.to_be_bytes()])
}

/// Day, API key and instrument of a [`usage`] key.
pub(crate) fn used(key: &[u8]) -> Option<(u32, KeyId, InstrumentId)> {
    let number = |from: usize| Some(u32::from_be_bytes(key.get(from..from + 4)?.try_into().ok()?));
    Some((number(4)?, KeyId(number(8)?), InstrumentId(number(12)?)))
}

pub(crate) fn spending(account: AccountId, slot: u16) -> [u8; 6] {
    join(&[&account.0.to_be_bytes(), &slot.to_be_bytes()])
}

/// The first key after all that begin with `prefix`; none when there is no such.
pub(crate) fn end(prefix: &[u8]) -> Option<Vec<u8>> {
    let kept = prefix.iter().rposition(|byte| *byte < u8::MAX)? + 1;
    let mut end = prefix[..kept].to_vec();
    end[kept - 1] += 1;
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_the_next_one() {
        assert_eq!(end(&[1, 2]), Some(vec![1, 3]));
        assert_eq!(end(&[1, 0xff, 0xff]), Some(vec![2]));
        assert_eq!(end(&[0xff]), None);
    }

    #[test]
    fn keys_hold_what_they_are_made_of_in_the_order_of_questions() {
        assert_eq!(number(&owned(AccountId(7), 9)), Some(9));
        assert_eq!(position(&happened(7, 8, 9)), Some((8, 9)));
        assert_eq!(position(&breaker(AccountId(1), InstrumentId(2), 3, 4)), Some((3, 4)));
        assert_eq!(used(&usage(AccountId(1), 2, KeyId(3), InstrumentId(4))), Some((2, KeyId(3), InstrumentId(4))));
        assert_eq!(scored(&scorecard(AccountId(1), InstrumentId(2))), Some(InstrumentId(2)));
        let level = |side, price| level(InstrumentId(1), side, Price(price));
        assert!(level(Side::Bid, 9) < level(Side::Bid, 8), "the highest bid first");
        assert!(level(Side::Ask, 8) < level(Side::Ask, 9), "the lowest ask first");
        assert!(level(Side::Bid, 0).starts_with(&side(InstrumentId(1), Side::Bid)));
        let place = |seq, index, nth| queued(InstrumentId(1), Side::Ask, Price(5), Place { seq, index, nth });
        assert!(place(1, 9, 9) < place(2, 0, 0) && place(2, 0, 0) < place(2, 0, 1) && place(2, 0, 1) < place(2, 1, 0));
    }
}
