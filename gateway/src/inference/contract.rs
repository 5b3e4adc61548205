//! The two commands of a call: one that buys, one that settles.

use crate::error::ApiError;
use crate::inference::Call;
use crate::inference::meter::Measured;
use gollem_engine::{
    AccountId, Amount, CloseReason, Command, ContractId, DeliveryReport, Event, KeyId, NewOrder, Outcome, Preference,
    Price, Quantity, SelfTrade, Terms, TimeInForce, Trade,
};
use gollem_sequencer::Ack;
use std::time::Duration;
use tokio::time::Instant;

/// A matched call: its worst case is in escrow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bought {
    pub(crate) contract: ContractId,
    pub(crate) provider: AccountId,
    pub(crate) price: Price,
    pub(crate) quantity: Quantity,
    /// When the call must be over, so that it settles before the contract ends by itself.
    pub(crate) deadline: Instant,
}

/// The longest a call may take.
const CALL_PATIENCE: Duration = Duration::from_secs(600);
/// What is left of a contract for its settlement, whatever the disk and the queue do.
const SETTLE_MARGIN: Duration = Duration::from_secs(120);
/// The shortest life of a contract that leaves a call all its time.
pub(crate) const CONTRACT_TTL_MIN: Duration = CALL_PATIENCE.saturating_add(SETTLE_MARGIN);

/// The trade that the call's bid made: others may have come of deadlines just before.
fn own_trade(ack: &Ack) -> Result<Trade, ApiError> {
    let mut own = None;
    for event in ack.events() {
        match event {
            Event::OrderAccepted(order) => own = Some(order.id),
            Event::Traded(trade) if Some(trade.bid) == own => return Ok(*trade),
            Event::OrderClosed { order, reason, .. } if Some(*order) == own => return Err(missed(*reason)),
            _ => {}
        }
    }
    Err(ApiError::internal(&"an immediate bid neither traded nor missed"))
}

/// Why a call's bid closed without a contract.
fn missed(reason: CloseReason) -> ApiError {
    match reason {
        CloseReason::Unfilled(miss) => miss.into(),
        CloseReason::SelfTrade => ApiError::own_ask(),
        CloseReason::Filled
        | CloseReason::Cancelled
        | CloseReason::Expired
        | CloseReason::DeadMan
        | CloseReason::Disconnected
        | CloseReason::Disputed => ApiError::internal(&"an immediate bid neither traded nor missed"),
    }
}

/// How long a call may take under a contract that lives so long.
fn patience(contract_ttl: Duration) -> Duration {
    CALL_PATIENCE.min(contract_ttl.saturating_sub(SETTLE_MARGIN))
}

impl Call {
    /// Matches the call against the book for its worst case, at the buyer's limits. A caller who offers the model too
    /// does not buy from itself: where its own ask is the best, the call is refused.
    pub(crate) async fn buy(&self) -> Result<Bought, ApiError> {
        let spec = &self.instrument.spec;
        let price_limit = self.limits.max_price;
        let limit = price_limit.map(|limit| limit.on_tick(spec)).transpose()?;
        let order = NewOrder {
            account: self.account,
            key: KeyId(0),
            instrument: self.instrument.id,
            client_id: None,
            limit,
            quantity: self.request.worst_case(spec)?,
            min_quantity: Quantity(0),
            time_in_force: TimeInForce::Ioc,
            post_only: false,
            cancel_on_disconnect: false,
            self_trade: SelfTrade::CancelNewest,
            terms: Terms::Bid { constraints: self.limits.constraints(), preference: Preference::Price, single: true },
        };
        let placed = self.app.execute(Command::PlaceOrder(order)).await;
        let price_field = price_limit.map_or("model", |limit| limit.field);
        // The engine names an order's fields; the caller gave others.
        let ack = placed.map_err(|error| error.renamed("quantity", "max_tokens").renamed("price", price_field))?;
        let trade = own_trade(&ack)?;
        Ok(Bought {
            contract: trade.contract,
            provider: trade.provider,
            price: trade.price,
            quantity: trade.quantity,
            deadline: Instant::now() + patience(Duration::from_nanos(trade.expires_at.0 - ack.at.0)),
        })
    }

    /// Settles what was delivered, returns the rest, and says what it cost. Durable when it returns.
    pub(crate) async fn settle(
        &self,
        bought: &Bought,
        measured: &Measured,
        outcome: Outcome,
    ) -> Result<Amount, ApiError> {
        let units = measured.usage.units(&self.instrument.spec.weights, bought.quantity);
        let report = DeliveryReport {
            contract: bought.contract,
            quantity: units,
            first_token_ms: measured.first_token_ms,
            throughput_tps: measured.throughput_tps,
            outcome,
            last: true,
        };
        let ack = self.app.execute_patiently(Command::ReportDelivery(report)).await?;
        let total = bought.price.notional(units).unwrap_or_default();
        let cost = ack.events().iter().find_map(|event| match event {
            Event::Delivered { contract, buyer_fee, rebate, .. } if *contract == bought.contract => {
                Some(Amount(total.0 + buyer_fee.0 - rebate.0))
            }
            _ => None,
        });
        Ok(cost.unwrap_or(total))
    }

    /// Settles a call that delivered nothing. A failure to settle is logged: the contract then returns by expiry.
    pub(crate) async fn settle_nothing(&self, bought: &Bought, outcome: Outcome) {
        if let Err(error) = self.settle(bought, &Measured::default(), outcome).await {
            tracing::error!(contract = bought.contract.0, code = error.code, "a contract was not settled");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gollem_engine::{Constraints, InstrumentId, Miss, Order, OrderId, Side, Timestamp};

    fn accepted(id: u64) -> Event {
        let (constraints, preference) = (Constraints::default(), Preference::Price);
        Event::OrderAccepted(Order {
            id: OrderId(id),
            account: AccountId(1),
            key: KeyId(0),
            instrument: InstrumentId(1),
            client_id: None,
            price: Price(100),
            quantity: Quantity(10),
            remaining: Quantity(10),
            time_in_force: TimeInForce::Ioc,
            post_only: false,
            cancel_on_disconnect: false,
            self_trade: SelfTrade::CancelNewest,
            terms: Terms::Bid { constraints, preference, single: true },
        })
    }

    fn traded(contract: u64, bid: u64) -> Event {
        Event::Traded(Trade {
            contract: ContractId(contract),
            instrument: InstrumentId(1),
            bid: OrderId(bid),
            ask: OrderId(2),
            buyer: AccountId(1),
            provider: AccountId(2),
            taker: Side::Bid,
            price: Price(90),
            quantity: Quantity(10),
            expires_at: Timestamp(0),
        })
    }

    fn closed(order: u64, reason: CloseReason) -> Event {
        Event::OrderClosed { order: OrderId(order), remaining: Quantity(10), reason }
    }

    #[test]
    fn a_call_gets_the_contract_of_its_own_bid() {
        let outcome = |last: &[Event]| {
            // A deadline made an older bid of the same account trade, and another one end.
            let deadlines = [traded(5, 3), closed(4, CloseReason::Expired)];
            let events = [&deadlines, last].concat();
            own_trade(&Ack::alone(9, Timestamp(1), &events)).map(|trade| trade.contract)
        };
        let code = |last: &[Event]| outcome(last).expect_err("no contract").code;
        assert_eq!(outcome(&[accepted(7), traded(6, 7), closed(7, CloseReason::Filled)]).unwrap(), ContractId(6));
        assert_eq!(code(&[accepted(7), closed(7, CloseReason::Unfilled(Miss::Price))]), "no_ask_at_price");
        assert_eq!(code(&[accepted(7), closed(7, CloseReason::SelfTrade)]), "own_ask");
    }
}
