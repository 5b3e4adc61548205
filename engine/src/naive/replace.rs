//! Replacing orders (section 4).

use super::orders::{check_hold, check_limit, check_quantity};
use super::{Open, Outcome, Place, Twin};
use crate::{Amount, CloseReason, Event, InstrumentState, Order, Quantity, RejectReason, Replacement, Side};

impl Twin {
    pub(super) fn replace_order(&mut self, replacement: &Replacement) -> Outcome {
        let old = self.own_order(replacement.account, replacement.order)?;
        if replacement.limit.is_none() && replacement.quantity.is_none() {
            return Err(RejectReason::NothingToReplace);
        }
        let price = replacement.limit.unwrap_or(old.order.price);
        let quantity = replacement.quantity.unwrap_or(old.order.quantity);
        let filled = old.order.quantity.0 - old.order.remaining.0;
        let remaining = Quantity(quantity.0.saturating_sub(filled));
        let new = Order { price, quantity, remaining, ..old.order };
        let keeps_its_place = price == old.order.price && quantity < old.order.quantity;
        self.check_replacement(replacement, &old, &new, keeps_its_place)?;
        if remaining == Quantity(0) {
            self.close_order(new.id, CloseReason::Cancelled);
            return Ok(());
        }
        let was_held = self.held_by(&old.order);
        let holds = self.held_by(&new);
        self.open_mut(new.id).order = new;
        self.tell(Event::OrderReplaced { order: new.id, price, quantity, remaining });
        if keeps_its_place {
            if old.place == Place::Book {
                self.tell_level(&new);
            }
            self.release(new.account, Amount(was_held.0 - holds.0));
            return Ok(());
        }
        self.open_mut(new.id).place = Place::Arriving;
        if old.place == Place::Book {
            self.tell_level(&old.order);
        }
        if holds > was_held {
            self.hold(new.account, Amount(holds.0 - was_held.0));
        } else {
            self.release(new.account, Amount(was_held.0 - holds.0));
        }
        self.arrive(new.id, None);
        Ok(())
    }

    fn check_replacement(&self, named: &Replacement, old: &Open, new: &Order, keeps_its_place: bool) -> Outcome {
        let market = self.market(new.instrument);
        let state = market.state;
        if state == InstrumentState::Halted || state == InstrumentState::CancelOnly && !keeps_its_place {
            return Err(RejectReason::InstrumentNotOpen { state });
        }
        if let Some(quantity) = named.quantity {
            check_quantity(&market.spec, quantity)?;
        }
        if keeps_its_place {
            return Ok(());
        }
        if new.side() == Side::Ask {
            self.check_breaker(new.account, new.instrument)?;
        }
        if let Some(limit) = named.limit {
            check_limit(&market.spec, limit)?;
        }
        let holds = check_hold(&market.spec, new.price, new.remaining)?;
        let needed = Amount(holds.0 - self.held_by(&old.order).0);
        if new.side() == Side::Bid && needed > Amount::ZERO {
            if old.counted {
                self.check_key(new.account, new.key, needed)?;
            }
            self.check_credits(new.account, needed)?;
        }
        if new.post_only {
            self.check_would_rest(new)?;
        }
        Ok(())
    }
}
