//! The two commands of a call: one that buys, one that settles.

use crate::error::ApiError;
use crate::inference::Call;
use crate::inference::meter::Measured;
use gollem_engine::{
    AccountId, Amount, CloseReason, Command, ContractId, DeliveryReport, Event, NewOrder, Outcome, Price, Quantity,
    Terms, TimeInForce,
};
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

/// How long a call may take under a contract that lives so long.
fn patience(contract_ttl: Duration) -> Duration {
    CALL_PATIENCE.min(contract_ttl.saturating_sub(SETTLE_MARGIN))
}

impl Call {
    /// Matches the call against the book for its worst case, at the buyer's limits.
    pub(crate) async fn buy(&self) -> Result<Bought, ApiError> {
        let spec = &self.instrument.spec;
        let price_limit = self.limits.max_price;
        let limit = price_limit.map(|limit| limit.on_tick(spec.tick)).transpose()?;
        let order = NewOrder {
            account: self.account,
            instrument: self.instrument.id,
            client_id: None,
            limit,
            quantity: self.request.worst_case(spec)?,
            time_in_force: TimeInForce::Ioc,
            terms: Terms::Bid { constraints: self.limits.constraints(), single: true },
        };
        let placed = self.app.execute(Command::PlaceOrder(order)).await;
        let price_field = price_limit.map_or("model", |limit| limit.field);
        // The engine names an order's fields; the caller gave others.
        let ack = placed.map_err(|error| error.renamed("quantity", "max_tokens").renamed("price", price_field))?;
        for event in &ack.events {
            match event {
                Event::Traded(trade) => {
                    return Ok(Bought {
                        contract: trade.contract,
                        provider: trade.provider,
                        price: trade.price,
                        quantity: trade.quantity,
                        deadline: Instant::now() + patience(Duration::from_nanos(trade.expires_at.0 - ack.at.0)),
                    });
                }
                Event::OrderClosed { reason: CloseReason::Unfilled(miss), .. } => return Err((*miss).into()),
                _ => {}
            }
        }
        Err(ApiError::internal(&"an immediate bid neither traded nor missed"))
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
        self.app.execute_patiently(Command::ReportDelivery(report)).await?;
        Ok(bought.price.notional(units).unwrap_or_default())
    }

    /// Settles a call that delivered nothing. A failure to settle is logged: the contract then returns by expiry.
    pub(crate) async fn settle_nothing(&self, bought: &Bought, outcome: Outcome) {
        if let Err(error) = self.settle(bought, &Measured::default(), outcome).await {
            tracing::error!(contract = bought.contract.0, code = error.code, "a contract was not settled");
        }
    }
}
