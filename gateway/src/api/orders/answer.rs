//! What callers are told of their orders: from the events of their own command, and from the views where those say more.

use super::did;
use crate::app::App;
use crate::error::ApiError;
use gollem_engine::{Event, OrderAnswer, OrderId, Timestamp, Trade};
use gollem_projections::words::{credits_per_unit, micros, order_json, reason_name, status_name, utc};
use gollem_projections::{OrderRow, OrderStatus, Reader};
use gollem_sequencer::Ack;
use serde_json::{Map, Value, json};

/// What one input did.
#[derive(Clone, Copy, Debug)]
pub(super) struct Did<'a> {
    pub(super) seq: u64,
    pub(super) at: Timestamp,
    pub(super) events: &'a [Event],
}

impl Did<'_> {
    /// The answer to an order that was placed, and whether it is the first answer again.
    pub(super) fn placed(self, app: &App, reader: &Reader<'_>) -> Result<Placed, ApiError> {
        match self.first_answer() {
            Some(answer) => repeated(app, reader, &answer),
            None => self.accepted(app),
        }
    }

    /// The first answer, if the order was placed before.
    fn first_answer(self) -> Option<OrderAnswer> {
        self.events.iter().find_map(|event| if let Event::OrderRepeated(answer) = event { Some(*answer) } else { None })
    }

    /// The answer to an order that was placed now: its own events say it all.
    fn accepted(self, app: &App) -> Result<Placed, ApiError> {
        let (row, fills) = self.outcome().ok_or_else(|| ApiError::internal(&"an accepted order has no event"))?;
        let mut json = own_json(app, &row);
        json.insert("seq".into(), self.seq.into());
        json.insert("fills".into(), fills.iter().map(fill_json).collect());
        Ok(Placed { json, row, repeated: false })
    }

    /// The answer to an order that was replaced: as it is now, with what it traded at once.
    pub(super) fn replaced(self, app: &App, reader: &Reader<'_>, id: OrderId) -> Result<Map<String, Value>, ApiError> {
        let mut json = known(app, reader, id)?;
        let own = |event: &&Event| matches!(event, Event::Traded(trade) if trade.bid == id || trade.ask == id);
        // Deadlines of the same input come before the replacement.
        let since =
            self.events.iter().position(|event| matches!(event, Event::OrderReplaced { order, .. } if *order == id));
        let fills = self.events[since.unwrap_or(self.events.len())..].iter().filter(own);
        json.insert("seq".into(), self.seq.into());
        json.insert(
            "fills".into(),
            fills
                .filter_map(|event| if let Event::Traded(trade) = event { Some(fill_json(trade)) } else { None })
                .collect(),
        );
        Ok(json)
    }

    /// The answer to an order that was cancelled.
    pub(super) fn cancelled(self, app: &App, reader: &Reader<'_>, id: OrderId) -> Result<Map<String, Value>, ApiError> {
        let mut json = known(app, reader, id)?;
        json.insert("seq".into(), self.seq.into());
        Ok(json)
    }

    /// What became of the order that was accepted, from its own events: others' may stand before and between them.
    fn outcome(self) -> Option<(OrderRow, Vec<Trade>)> {
        let mut row = None;
        let mut fills = Vec::new();
        for event in self.events {
            match (&mut row, event) {
                (_, Event::OrderAccepted(order)) => row = Some(OrderRow::accepted(order, self.at)),
                (Some(row), event) => follow(row, &mut fills, event),
                (None, _) => {}
            }
        }
        row.map(|row| (row, fills))
    }
}

/// The answer to an order that was placed by itself. Only what was placed before has to wait for the views.
pub(crate) async fn placed(app: &App, ack: &Ack) -> Result<Placed, ApiError> {
    let did = did(ack);
    match did.first_answer() {
        Some(answer) => repeated(app, &app.reader(0).await?, &answer),
        None => did.accepted(app),
    }
}

/// The answer to a placed order.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) json: Map<String, Value>,
    /// The order as it is now.
    pub(super) row: OrderRow,
    pub(super) repeated: bool,
}

/// An order as it is now.
fn known(app: &App, reader: &Reader<'_>, id: OrderId) -> Result<Map<String, Value>, ApiError> {
    let row = reader.order(id)?.ok_or_else(|| ApiError::internal(&"an order is not in the view"))?;
    Ok(own_json(app, &row))
}

/// What an event did to the order, if it is about it.
fn follow(row: &mut OrderRow, fills: &mut Vec<Trade>, event: &Event) {
    let id = row.order.id;
    match event {
        Event::Traded(trade) if trade.bid == id || trade.ask == id => {
            row.filled.0 += trade.quantity.0;
            row.order.remaining.0 -= trade.quantity.0;
            row.value.0 += trade.price.notional(trade.quantity).unwrap_or_default().0;
            fills.push(*trade);
        }
        Event::OrderReplaced { order, price, quantity, remaining } if *order == id => {
            (row.order.price, row.order.quantity, row.order.remaining) = (*price, *quantity, *remaining);
        }
        Event::OrderClosed { order, reason, .. } if *order == id => row.status = OrderStatus::Closed(*reason),
        _ => {}
    }
}

/// The first answer again: the order as it was when it was placed.
pub(super) fn repeated(app: &App, reader: &Reader<'_>, answer: &OrderAnswer) -> Result<Placed, ApiError> {
    let row = reader.order(answer.order)?;
    let row = row.ok_or_else(|| ApiError::internal(&"a repeated order is not in the view"))?;
    let mut json = own_json(app, &row);
    // What did not rest was over at once, so that its row still says how.
    let (status, remaining) =
        if answer.rested.0 > 0 { (OrderStatus::Open, answer.rested) } else { (row.status, row.order.remaining) };
    json.insert("status".into(), status_name(status, answer.filled).into());
    json.insert("reason".into(), reason_name(status).into());
    json.insert("filled".into(), answer.filled.0.into());
    json.insert("remaining".into(), remaining.0.into());
    json.insert("seq".into(), answer.seq.into());
    json.insert("repeated".into(), true.into());
    Ok(Placed { json, row, repeated: true })
}

/// A fill, in the answer to the order that made it.
pub(crate) fn fill_json(trade: &Trade) -> Value {
    json!({
        "contract": format!("ctr_{}", trade.contract.0),
        "price": credits_per_unit(trade.price),
        "quantity": trade.quantity.0,
        "expires_at": utc(trade.expires_at),
        "expires_at_us": micros(trade.expires_at),
    })
}

fn own_json(app: &App, row: &OrderRow) -> Map<String, Value> {
    order_json(row, &app.catalog.symbol(row.order.instrument))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gollem_engine::{
        AccountId, Attributes, CloseReason, ContractId, InstrumentId, KeyId, Miss, Order, Price, Quantity, SelfTrade,
        Side, Terms, TimeInForce,
    };

    fn order(id: u64) -> Order {
        Order {
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
            self_trade: SelfTrade::Decrement,
            terms: Terms::Ask { attributes: Attributes::default() },
        }
    }

    fn trade(contract: u64, bid: u64, ask: u64) -> Event {
        Event::Traded(Trade {
            contract: ContractId(contract),
            instrument: InstrumentId(1),
            bid: OrderId(bid),
            ask: OrderId(ask),
            buyer: AccountId(2),
            provider: AccountId(1),
            taker: Side::Ask,
            price: Price(90),
            quantity: Quantity(4),
            expires_at: Timestamp(0),
        })
    }

    fn closed(id: u64, reason: CloseReason) -> Event {
        Event::OrderClosed { order: OrderId(id), remaining: Quantity(0), reason }
    }

    #[test]
    fn an_answer_is_made_of_the_order_s_own_events() {
        // A deadline of an older order of the same account comes first, a resting order closes in between.
        let shrunk = |id, quantity, remaining| Event::OrderReplaced {
            order: OrderId(id),
            price: Price(100),
            quantity: Quantity(quantity),
            remaining: Quantity(remaining),
        };
        let events = vec![
            closed(5, CloseReason::Expired),
            trade(1, 3, 4),
            Event::OrderAccepted(order(7)),
            trade(2, 6, 7),
            closed(6, CloseReason::Filled),
            shrunk(8, 3, 3),
            shrunk(7, 8, 4),
            closed(7, CloseReason::Unfilled(Miss::Capacity)),
        ];
        let (row, fills) = Did { seq: 9, at: Timestamp(1), events: &events }.outcome().unwrap();
        assert_eq!(fills.iter().map(|fill| fill.contract.0).collect::<Vec<_>>(), [2]);
        assert_eq!((row.filled, row.value.0), (Quantity(4), 360));
        assert_eq!((row.order.quantity, row.order.remaining), (Quantity(8), Quantity(4)));
        assert_eq!(row.status, OrderStatus::Closed(CloseReason::Unfilled(Miss::Capacity)));
    }
}
