//! The short way of reading and writing the frequent commands: their fields one after the other, without bincode.
//!
//! Nearly all of a journal is orders placed, changed and cancelled, and deliveries. Decoding them by bincode was a fifth of
//! what `gollem-bench recovery` took; here it takes a quarter of that. The bytes are bincode's `legacy()` nevertheless:
//! whole numbers little-endian, an option as a byte and its value, a variant as its number in 32 bits.
//!
//! Invariants: what is written here is what bincode writes; what is read here bincode reads as the same command. Anything
//! else, of other commands or not whole, is left to bincode, so that taking this module out changes nothing but time.
//!
//! A structure lists its fields once, for both ways; a field that is left out does not compile.

use crate::{
    AccountId, Attributes, ClientOrderId, Command, Constraints, ContractId, DeliveryReport, GpuClass, InstrumentId,
    KeyId, NewOrder, OrderId, Outcome, Precision, Preference, Price, Quantity, Region, Replacement, SelfTrade, Terms,
    TimeInForce, Timestamp, Tokens,
};

/// Room for the longest of these commands: a bid with everything that is optional has 107 bytes.
const BYTES_MAX: usize = 112;

/// Numbers of the variants.
const PLACE_ORDER: u32 = 3;
const CANCEL_ORDER: u32 = 4;
const REPORT_DELIVERY: u32 = 5;
const REPLACE_ORDER: u32 = 10;

/// Appends a frequent command; `false` for another, of which nothing is written.
#[inline]
#[expect(clippy::wildcard_enum_match_arm, reason = "whatever is not frequent goes by bincode")]
pub(crate) fn write(command: &Command, out: &mut Vec<u8>) -> bool {
    // Room for the longest at once, so that no field asks for more.
    let begin = out.len();
    out.extend_from_slice(&[0; BYTES_MAX]);
    let Some(bytes) = out.last_chunk_mut() else { return false };
    let mut room = Room { bytes, used: 0 };
    match command {
        Command::ReplaceOrder(change) => {
            REPLACE_ORDER.put(&mut room);
            change.put(&mut room);
        }
        Command::PlaceOrder(new) => {
            PLACE_ORDER.put(&mut room);
            new.put(&mut room);
        }
        Command::CancelOrder { account, order } => {
            CANCEL_ORDER.put(&mut room);
            (*account, *order).put(&mut room);
        }
        Command::ReportDelivery(report) => {
            REPORT_DELIVERY.put(&mut room);
            report.put(&mut room);
        }
        _ => {}
    }
    let used = room.used;
    out.truncate(begin + used);
    used > 0
}

/// Reads a frequent command from exactly these bytes into `command`; `false`, and nothing changed, if they are anything
/// else. Each kind is written where it stays: copying it just after its fields were written stalls the processor.
#[inline]
pub(crate) fn read(bytes: &[u8], command: &mut Command) -> bool {
    let mut fields = Fields(bytes);
    match u32::take(&mut fields) {
        Some(REPLACE_ORDER) => fields.rest().map(|change| *command = Command::ReplaceOrder(change)),
        Some(PLACE_ORDER) => fields.rest().map(|new| *command = Command::PlaceOrder(new)),
        Some(CANCEL_ORDER) => fields.rest().map(|(account, order)| *command = Command::CancelOrder { account, order }),
        Some(REPORT_DELIVERY) => fields.rest().map(|report| *command = Command::ReportDelivery(report)),
        _ => None,
    }
    .is_some()
}

/// Where a command is written.
struct Room<'a> {
    bytes: &'a mut [u8; BYTES_MAX],
    used: usize,
}

/// What is left of the bytes of a command.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    /// All that is left; `None` if it is not exactly that.
    #[inline(always)]
    fn rest<T: Wire>(mut self) -> Option<T> {
        T::take(&mut self).filter(|_| self.0.is_empty())
    }
}

/// A field, or fields one after the other.
trait Wire: Sized {
    /// Writes it.
    fn put(&self, room: &mut Room<'_>);

    /// Takes it off the front; `None` if it is not there.
    fn take(fields: &mut Fields<'_>) -> Option<Self>;
}

impl<const N: usize> Wire for [u8; N] {
    #[inline(always)]
    fn put(&self, room: &mut Room<'_>) {
        room.bytes[room.used..room.used + N].copy_from_slice(self);
        room.used += N;
    }

    #[inline(always)]
    fn take(fields: &mut Fields<'_>) -> Option<[u8; N]> {
        let (field, rest) = fields.0.split_first_chunk()?;
        fields.0 = rest;
        Some(*field)
    }
}

/// Whole numbers, little-endian.
macro_rules! numbers {
    ($($number:ty),*) => { $(
        impl Wire for $number {
            #[inline(always)]
            fn put(&self, room: &mut Room<'_>) {
                self.to_le_bytes().put(room);
            }

            #[inline(always)]
            fn take(fields: &mut Fields<'_>) -> Option<$number> {
                Wire::take(fields).map(<$number>::from_le_bytes)
            }
        }
    )* };
}

/// Structures, each with its fields in the order in which they are written.
macro_rules! structures {
    ($($name:ident { $($field:tt),* })*) => { $(
        impl Wire for $name {
            #[inline(always)]
            fn put(&self, room: &mut Room<'_>) {
                $( self.$field.put(room); )*
            }

            #[inline(always)]
            fn take(fields: &mut Fields<'_>) -> Option<$name> {
                Some($name { $( $field: Wire::take(fields)? ),* })
            }
        }
    )* };
}

/// Enumerations, each variant with its number and its fields.
macro_rules! variants {
    ($($name:ident { $($number:literal $variant:ident $({ $($field:tt $as:ident),* })?),* })*) => { $(
        impl Wire for $name {
            #[inline(always)]
            fn put(&self, room: &mut Room<'_>) {
                match self {
                    $( $name::$variant $({ $($field: $as),* })? => {
                        u32::put(&$number, room);
                        $($( $as.put(room); )*)?
                    } )*
                }
            }

            #[inline(always)]
            fn take(fields: &mut Fields<'_>) -> Option<$name> {
                match u32::take(fields)? {
                    $( $number => Some($name::$variant $({ $($field: Wire::take(fields)?),* })?), )*
                    _ => None,
                }
            }
        }
    )* };
}

numbers!(u8, u16, u32, u64);

impl Wire for bool {
    #[inline(always)]
    fn put(&self, room: &mut Room<'_>) {
        u8::from(*self).put(room);
    }

    #[inline(always)]
    fn take(fields: &mut Fields<'_>) -> Option<bool> {
        match u8::take(fields)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

impl<A: Wire, B: Wire> Wire for (A, B) {
    #[inline(always)]
    fn put(&self, room: &mut Room<'_>) {
        self.0.put(room);
        self.1.put(room);
    }

    #[inline(always)]
    fn take(fields: &mut Fields<'_>) -> Option<(A, B)> {
        Some((A::take(fields)?, B::take(fields)?))
    }
}

impl<T: Wire> Wire for Option<T> {
    #[inline(always)]
    fn put(&self, room: &mut Room<'_>) {
        self.is_some().put(room);
        if let Some(value) = self {
            value.put(room);
        }
    }

    #[inline(always)]
    fn take(fields: &mut Fields<'_>) -> Option<Option<T>> {
        if bool::take(fields)? { T::take(fields).map(Some) } else { Some(None) }
    }
}

structures! {
    AccountId { 0 }
    KeyId { 0 }
    InstrumentId { 0 }
    OrderId { 0 }
    ContractId { 0 }
    ClientOrderId { 0 }
    Price { 0 }
    Quantity { 0 }
    Timestamp { 0 }
    GpuClass { 0 }
    Region { 0 }
    Precision { 0 }
    NewOrder {
        account, key, instrument, client_id, limit, quantity, min_quantity, time_in_force, post_only,
        cancel_on_disconnect, self_trade, terms
    }
    Replacement { account, order, limit, quantity }
    DeliveryReport { contract, quantity, first_token_ms, throughput_tps, outcome, tokens, last }
    Tokens { input, cached_input, output }
    Constraints { max_latency_ms, min_throughput_tps, gpus, regions, precisions }
    Attributes { latency_ms, throughput_tps, gpu, region, precision }
}

variants! {
    TimeInForce { 0 Gtc, 1 Ioc, 2 Fok, 3 Gtd { 0 until } }
    SelfTrade { 0 CancelNewest, 1 CancelOldest, 2 CancelBoth, 3 Decrement, 4 Allow }
    Outcome { 0 Completed, 1 Abandoned, 2 Failed, 3 Overstated }
    Preference {
        0 Price, 1 Latency, 2 Throughput,
        3 Weights { price price, latency latency, throughput throughput }
    }
    Terms {
        0 Bid { constraints constraints, preference preference, single single },
        1 Ask { attributes attributes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::option::of;
    use proptest::prelude::*;

    fn terms() -> impl Strategy<Value = Terms> {
        let constraints = (of(any::<u32>()), of(any::<u32>()), any::<[u16; 3]>());
        let bid = (constraints, 0..4, any::<[u16; 3]>(), any::<bool>());
        let bid = bid.prop_map(|((max_latency_ms, min_throughput_tps, sets), kind, weights, single)| {
            let [gpus, regions, precisions] = sets;
            let constraints = Constraints { max_latency_ms, min_throughput_tps, gpus, regions, precisions };
            let [price, latency, throughput] = weights;
            let preference = match kind {
                0 => Preference::Price,
                1 => Preference::Latency,
                2 => Preference::Throughput,
                _ => Preference::Weights { price, latency, throughput },
            };
            Terms::Bid { constraints, preference, single }
        });
        let ask = any::<(u32, u32, u8, u8, u8)>().prop_map(|(latency_ms, throughput_tps, gpu, region, precision)| {
            let (gpu, region, precision) = (GpuClass(gpu), Region(region), Precision(precision));
            Terms::Ask { attributes: Attributes { latency_ms, throughput_tps, gpu, region, precision } }
        });
        prop_oneof![bid, ask]
    }

    fn place() -> impl Strategy<Value = Command> {
        let waits = prop_oneof![
            Just(TimeInForce::Gtc),
            Just(TimeInForce::Ioc),
            Just(TimeInForce::Fok),
            any::<u64>().prop_map(|until| TimeInForce::Gtd(Timestamp(until))),
        ];
        let modes = [
            SelfTrade::CancelNewest,
            SelfTrade::CancelOldest,
            SelfTrade::CancelBoth,
            SelfTrade::Decrement,
            SelfTrade::Allow,
        ];
        let of_client = (of(any::<[u8; 16]>()), of(any::<u64>()));
        let rest = (waits, proptest::sample::select(modes.to_vec()), terms());
        (any::<[u32; 3]>(), of_client, any::<[u64; 2]>(), any::<[bool; 2]>(), rest).prop_map(
            |(ids, (client_id, limit), units, facts, (time_in_force, self_trade, terms))| {
                Command::PlaceOrder(NewOrder {
                    account: AccountId(ids[0]),
                    key: KeyId(ids[1]),
                    instrument: InstrumentId(ids[2]),
                    client_id: client_id.map(ClientOrderId),
                    limit: limit.map(Price),
                    quantity: Quantity(units[0]),
                    min_quantity: Quantity(units[1]),
                    time_in_force,
                    post_only: facts[0],
                    cancel_on_disconnect: facts[1],
                    self_trade,
                    terms,
                })
            },
        )
    }

    fn frequent() -> impl Strategy<Value = Command> {
        let cancel = any::<(u32, u64)>()
            .prop_map(|(account, order)| Command::CancelOrder { account: AccountId(account), order: OrderId(order) });
        let replace = (any::<(u32, u64)>(), of(any::<u64>()), of(any::<u64>())).prop_map(|(ids, limit, quantity)| {
            let (account, order) = (AccountId(ids.0), OrderId(ids.1));
            let (limit, quantity) = (limit.map(Price), quantity.map(Quantity));
            Command::ReplaceOrder(Replacement { account, order, limit, quantity })
        });
        let outcomes = [Outcome::Completed, Outcome::Abandoned, Outcome::Failed, Outcome::Overstated].to_vec();
        let report = (any::<[u64; 2]>(), of(any::<u32>()), of(any::<u32>()), proptest::sample::select(outcomes));
        let report = (report, any::<bool>()).prop_map(|((of, first_token_ms, throughput_tps, outcome), last)| {
            let (contract, quantity) = (ContractId(of[0]), Quantity(of[1]));
            let report = DeliveryReport {
                contract,
                quantity,
                first_token_ms,
                throughput_tps,
                outcome,
                tokens: Tokens::default(),
                last,
            };
            Command::ReportDelivery(report)
        });
        prop_oneof![3 => place(), 1 => cancel, 1 => replace, 1 => report]
    }

    /// Bytes of a command of any kind.
    fn whole() -> impl Strategy<Value = Vec<u8>> {
        let hex = |line: &str| {
            let digit = |at: usize| u8::from_str_radix(&line[at..at + 2], 16).unwrap();
            (0..line.len()).step_by(2).map(digit).collect::<Vec<u8>>()
        };
        let golden: Vec<Vec<u8>> = include_str!("../tests/golden_commands.txt").lines().map(hex).collect();
        prop_oneof![
            proptest::sample::select(golden),
            frequent().prop_map(|command| {
                let mut bytes = Vec::new();
                command.encode_any(&mut bytes);
                bytes
            }),
        ]
    }

    /// The same after some accidents.
    fn damaged() -> impl Strategy<Value = Vec<u8>> {
        let likely = prop_oneof![0..6_u8, any::<u8>()];
        let changes = proptest::collection::vec((any::<prop::sample::Index>(), likely), 0..4);
        (whole(), changes, 0..4, any::<prop::sample::Index>()).prop_map(|(mut bytes, changes, length, cut)| {
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            match length {
                0 => bytes.truncate(cut.index(bytes.len())),
                1 => bytes.push(0),
                _ => {}
            }
            bytes
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_048, ..ProptestConfig::default() })]

        #[test]
        fn a_frequent_command_has_the_bytes_that_bincode_writes_and_is_read_back(command in frequent()) {
            let (mut short, mut long) = (vec![9, 9], vec![9, 9]);
            prop_assert!(write(&command, &mut short), "the short way is taken");
            command.encode_any(&mut long);
            prop_assert_eq!(&short, &long);
            let mut back = Command::OpenAccount;
            prop_assert!(read(&short[2..], &mut back), "the short way is taken");
            prop_assert_eq!(back, command);
        }

        #[test]
        fn any_bytes_are_read_or_refused_as_bincode_does(bytes in damaged()) {
            let text = |error: crate::DecodeError| error.to_string();
            let (short, long) = (Command::decode(&bytes).map_err(text), Command::decode_any(&bytes).map_err(text));
            prop_assert_eq!(&short, &long);
            let mut kept = Command::OpenAccount;
            let known = kept.decode_from(&bytes).is_ok();
            prop_assert_eq!(Ok(kept), if known { short } else { Ok(Command::OpenAccount) });
        }
    }

    #[test]
    fn another_command_is_left_to_bincode_with_nothing_written() {
        let mut out = vec![7];
        assert!(!write(&Command::Tick, &mut out));
        assert_eq!(out, [7]);
        assert!(!read(&[9, 0, 0, 0], &mut Command::OpenAccount));
    }

    #[test]
    fn the_longest_frequent_command_has_room() {
        let constraints =
            Constraints { max_latency_ms: Some(1), min_throughput_tps: Some(2), gpus: 3, regions: 4, precisions: 5 };
        let preference = Preference::Weights { price: 1, latency: 2, throughput: 3 };
        let longest = Command::PlaceOrder(NewOrder {
            account: AccountId(1),
            key: KeyId(2),
            instrument: InstrumentId(3),
            client_id: Some(ClientOrderId([4; 16])),
            limit: Some(Price(5)),
            quantity: Quantity(6),
            min_quantity: Quantity(7),
            time_in_force: TimeInForce::Gtd(Timestamp(8)),
            post_only: true,
            cancel_on_disconnect: true,
            self_trade: SelfTrade::Allow,
            terms: Terms::Bid { constraints, preference, single: true },
        });
        let mut bytes = Vec::new();
        assert!(write(&longest, &mut bytes));
        assert_eq!(bytes.len(), 107);
    }
}
