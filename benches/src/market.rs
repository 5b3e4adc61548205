//! What all workloads share: one instrument, 64 funded accounts, and the words for orders.

use crate::random::Random;
use anyhow::Context;
use gollem_engine::{
    ATOMS_PER_CENT, AccountId, Amount, Attributes, Command, Constraints, ContractId, DeliveryReport, InstrumentId,
    InstrumentSpec, KeyId, NewOrder, Outcome, Preference, Price, Quantity, Reference, SelfTrade, Symbol, Terms,
    TimeInForce, TokenWeights, Tokens,
};

/// Accounts from 1 to this quote asks.
const PROVIDERS: u32 = 16;
/// Accounts above the providers up to this buy.
const ACCOUNTS: u32 = 64;
/// Atoms a unit between two prices.
pub(crate) const TICK: u64 = 1_000;
/// The price around which everyone quotes, in ticks.
pub(crate) const MID_TICKS: u64 = 135;
/// $1,000, the largest purchase.
pub(crate) const FUNDS: Amount = Amount(100_000 * ATOMS_PER_CENT);

/// Commands that list the instrument, open the accounts and fund them.
pub(crate) fn setup() -> anyhow::Result<Vec<Command>> {
    let spec = InstrumentSpec {
        symbol: Symbol::new("bench").context("the instrument's symbol is valid")?,
        weights: TokenWeights { input: 1_000, cached_input: 250, output: 4_000 },
        tick: Price(TICK),
        price_max: Price(1_000 * MID_TICKS * TICK),
        band_bps: 0,
        lot: Quantity(1),
        quantity_min: Quantity(1),
        maker_fee_bps: 0,
        taker_fee_bps: 0,
        tolerance_bps: 1_000,
        rebate_bps: 0,
        reference_price: Price(MID_TICKS * TICK),
        quantity_max: Quantity(1_000_000_000),
        delivery_fee_bps: 100,
        contract_ttl_ns: 86_400_000_000_000,
    };
    let mut commands = vec![Command::ListInstrument(Box::new(spec))];
    for account in 1..=ACCOUNTS {
        commands.extend([Command::OpenAccount, purchase(AccountId(account), u64::from(account), FUNDS)]);
    }
    Ok(commands)
}

/// The purchase with that number.
pub(crate) fn purchase(account: AccountId, number: u64, amount: Amount) -> Command {
    let reference = Reference(u128::from(number).to_le_bytes());
    Command::PurchaseCredits { account, amount, reference }
}

/// Any provider.
pub(crate) fn provider(random: &mut Random) -> AccountId {
    AccountId(random.between_u32(1, PROVIDERS))
}

/// Any buyer.
pub(crate) fn buyer(random: &mut Random) -> AccountId {
    AccountId(random.between_u32(PROVIDERS + 1, ACCOUNTS))
}

/// An order that rests.
pub(crate) fn quote(account: AccountId, price_ticks: u64, quantity: u64, terms: Terms) -> Command {
    Command::PlaceOrder(NewOrder {
        account,
        key: KeyId(0),
        instrument: InstrumentId(1),
        client_id: None,
        limit: Some(Price(price_ticks * TICK)),
        quantity: Quantity(quantity),
        min_quantity: Quantity(0),
        time_in_force: TimeInForce::Gtc,
        post_only: false,
        cancel_on_disconnect: false,
        self_trade: SelfTrade::Allow,
        terms,
    })
}

/// The terms of an ask.
pub(crate) fn ask(latency_ms: u32, throughput_tps: u32) -> Terms {
    Terms::Ask { attributes: Attributes { latency_ms, throughput_tps, ..Attributes::default() } }
}

/// An immediate bid for the whole quantity from one ask: what an inference request becomes.
pub(crate) fn call(account: AccountId, price_ticks: u64, quantity: u64, max_latency_ms: Option<u32>) -> Command {
    let constraints = Constraints { max_latency_ms, ..Constraints::default() };
    Command::PlaceOrder(NewOrder {
        account,
        key: KeyId(0),
        instrument: InstrumentId(1),
        client_id: None,
        limit: Some(Price(price_ticks * TICK)),
        quantity: Quantity(quantity),
        min_quantity: Quantity(0),
        time_in_force: TimeInForce::Ioc,
        post_only: false,
        cancel_on_disconnect: false,
        self_trade: SelfTrade::Allow,
        terms: Terms::Bid { constraints, preference: Preference::Price, single: true },
    })
}

/// The last delivery of a contract.
pub(crate) fn delivery(contract: ContractId, quantity: u64) -> Command {
    Command::ReportDelivery(DeliveryReport {
        contract,
        quantity: Quantity(quantity),
        first_token_ms: Some(200),
        throughput_tps: Some(60),
        outcome: Outcome::Completed,
        tokens: Tokens::default(),
        last: true,
    })
}
