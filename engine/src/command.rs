//! Commands and their bytes in the journal.
//!
//! The encoding is bincode 2 `legacy()` (fixed-width little-endian integers, `u32` enum tags, `u64`
//! lengths), pinned by the golden test below: variants and fields are appended, never reordered.

use crate::{
    AccountId, Amount, ClientOrderId, ContractId, InstrumentId, InstrumentSpec, OrderId, PayoutId, Price, Quantity,
    Reference, Terms, TimeInForce, Timestamp,
};
use bincode::{Decode, Encode};

/// A request to change state.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Command {
    /// Opens the next account.
    OpenAccount,
    /// Lists the next instrument.
    ListInstrument(InstrumentSpec),
    /// Credits an account with a purchase, once per reference.
    PurchaseCredits {
        /// Who bought.
        account: AccountId,
        /// $1 to $1,000.
        amount: Amount,
        /// The processor's reference.
        reference: Reference,
    },
    /// Places an order.
    PlaceOrder(NewOrder),
    /// Cancels an open order of the account.
    CancelOrder {
        /// The owner.
        account: AccountId,
        /// Which order.
        order: OrderId,
    },
    /// Settles metered usage of a contract.
    ReportDelivery(DeliveryReport),
    /// Moves earnings into a pending payout.
    RequestPayout {
        /// The provider.
        account: AccountId,
        /// How much; all whole cents when `None`.
        amount: Option<Amount>,
    },
    /// The processor paid the payout.
    ConfirmPayout {
        /// Which payout.
        payout: PayoutId,
    },
    /// The processor could not pay: the earnings return.
    FailPayout {
        /// Which payout.
        payout: PayoutId,
    },
    /// Lets deadlines up to the input's time take effect.
    Tick,
}

/// An order as it is placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct NewOrder {
    /// Who places it.
    pub account: AccountId,
    /// Where it trades.
    pub instrument: InstrumentId,
    /// The client's own id: a resend with the same id gets the first answer.
    pub client_id: Option<ClientOrderId>,
    /// The worst acceptable price; `None` is a market order, which must be immediate or cancel. A market
    /// bid is limited by the instrument's reference price, a market ask by its tick.
    pub limit: Option<Price>,
    /// Units.
    pub quantity: Quantity,
    /// How long it may wait.
    pub time_in_force: TimeInForce,
    /// What is particular to its side.
    pub terms: Terms,
}

/// How a delivery ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Outcome {
    /// The provider served what it was asked.
    Completed,
    /// The client left; what was delivered counts.
    Abandoned,
    /// The provider failed; what was delivered before counts.
    Failed,
}

/// Metered usage of a contract, as the gateway saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct DeliveryReport {
    /// Which contract.
    pub contract: ContractId,
    /// Units delivered; zero when nothing arrived.
    pub quantity: Quantity,
    /// Measured time to the first token in milliseconds, if one came.
    pub first_token_ms: Option<u32>,
    /// Measured tokens a second after the first token, if more than one came.
    pub throughput_tps: Option<u32>,
    /// How it ended.
    pub outcome: Outcome,
    /// Closes the contract: the unused rest returns.
    pub last: bool,
}

/// A command with its place in the sequence and its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// 1-based, without gaps.
    pub seq: u64,
    /// The sequencer's stamp.
    pub at: Timestamp,
    /// What is asked.
    pub command: Command,
}

/// Journaled bytes that are not a command of this version: written by a newer version, or not by us.
#[derive(Debug, thiserror::Error)]
#[error("not a command of this version: {0}")]
pub struct DecodeError(String);

/// Bounds what a hostile length field can make the decoder allocate.
const COMMAND_BYTES_MAX: usize = 4_096;

impl Command {
    /// Appends the command's bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let written = bincode::encode_into_std_write(self, out, bincode::config::legacy());
        crate::invariant(written.ok(), "encoding into memory cannot fail");
    }

    /// Reads a command from exactly these bytes.
    ///
    /// # Errors
    /// When the bytes are not one whole command.
    pub fn decode(bytes: &[u8]) -> Result<Command, DecodeError> {
        let config = bincode::config::legacy().with_limit::<COMMAND_BYTES_MAX>();
        let (command, read) =
            bincode::decode_from_slice(bytes, config).map_err(|error| DecodeError(error.to_string()))?;
        if read != bytes.len() {
            return Err(DecodeError(format!("{} bytes left over", bytes.len() - read)));
        }
        Ok(command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Attributes, Constraints, GpuClass, Region, TokenWeights};

    /// One command of each variant. `golden_commands.txt` holds their bytes.
    fn samples() -> Vec<Command> {
        let bid = NewOrder {
            account: AccountId(7),
            instrument: InstrumentId(3),
            client_id: Some(ClientOrderId([0xab; 16])),
            limit: Some(Price(200_000)),
            quantity: Quantity(774),
            time_in_force: TimeInForce::Ioc,
            terms: Terms::Bid {
                constraints: Constraints { max_latency_ms: Some(400), min_throughput_tps: None, gpus: 2, regions: 0 },
                single: true,
            },
        };
        let attributes = Attributes {
            latency_ms: 400,
            throughput_tps: 60,
            gpu: GpuClass::from_name("h100").unwrap(),
            region: Region::from_name("eu").unwrap(),
        };
        let ask = NewOrder {
            client_id: None,
            limit: None,
            time_in_force: TimeInForce::Gtc,
            terms: Terms::Ask { attributes },
            ..bid
        };
        let spec = InstrumentSpec {
            symbol: crate::Symbol::new("gpt-oss-20b").unwrap(),
            weights: TokenWeights { input: 1_000, cached_input: 250, output: 4_000 },
            tick: Price(10),
            reference_price: Price(100_000),
            quantity_max: Quantity(1_000_000_000),
            delivery_fee_bps: 100,
            contract_ttl_ns: 600_000_000_000,
        };
        let report = DeliveryReport {
            contract: ContractId(9),
            quantity: Quantity(550),
            first_token_ms: Some(210),
            throughput_tps: Some(61),
            outcome: Outcome::Completed,
            last: true,
        };
        vec![
            Command::OpenAccount,
            Command::ListInstrument(spec),
            Command::PurchaseCredits {
                account: AccountId(7),
                amount: Amount(1_000_000_000_000),
                reference: Reference([1; 16]),
            },
            Command::PlaceOrder(bid),
            Command::PlaceOrder(ask),
            Command::CancelOrder { account: AccountId(7), order: OrderId(11) },
            Command::ReportDelivery(report),
            Command::RequestPayout { account: AccountId(2), amount: None },
            Command::ConfirmPayout { payout: PayoutId(1) },
            Command::FailPayout { payout: PayoutId(1) },
            Command::Tick,
        ]
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn journaled_bytes_are_pinned() {
        let mut actual = String::new();
        for command in samples() {
            let mut bytes = Vec::new();
            command.encode(&mut bytes);
            actual.push_str(&hex(&bytes));
            actual.push('\n');
        }
        let golden = include_str!("../tests/golden_commands.txt");
        assert_eq!(actual, golden, "old journals would no longer be readable");
    }

    #[test]
    fn every_command_decodes_to_itself_and_nothing_shorter_or_longer_does() {
        for command in samples() {
            let mut bytes = Vec::new();
            command.encode(&mut bytes);
            assert_eq!(Command::decode(&bytes).unwrap(), command);
            for cut in 0..bytes.len() {
                assert!(Command::decode(&bytes[..cut]).is_err(), "{command:?} cut to {cut}");
            }
            bytes.push(0);
            assert!(Command::decode(&bytes).is_err(), "{command:?} with a byte left over");
        }
    }

    #[test]
    fn a_hostile_length_allocates_nothing() {
        let mut bytes = vec![1, 0, 0, 0];
        bytes.extend(u64::MAX.to_le_bytes());
        assert!(Command::decode(&bytes).is_err());
    }
}
