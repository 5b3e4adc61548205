//! Money that comes in: customers, payment intents and their charges, refunds, disputes.
//!
//! Banks decide about disputes and Stripe takes the money at once, whatever the balance; so a balance may become
//! negative.

use crate::ledger::Ledger;
use crate::objects;
use crate::records::{
    Charge, Customer, Decline, Dispute, DisputeStatus, Intent, IntentStatus, Metadata, Movement, Refund, Topup,
};
use crate::refusal::Refusal;
use serde_json::json;

const AMOUNT_CENTS_MIN: i64 = 50;
const AMOUNT_CENTS_MAX: i64 = 99_999_999;

/// What Stripe takes for a dispute, won or lost.
const DISPUTE_FEE_CENTS: i64 = 1_500;

const DECLINED: Decline =
    Decline { code: "card_declined", decline_code: "generic_decline", message: "Your card was declined." };

/// The bank wants to see the customer, who is not there.
const AUTHENTICATION: Decline = Decline {
    code: "authentication_required",
    decline_code: "authentication_required",
    message: "Your card was declined. This transaction requires authentication.",
};

/// 2.9% and 30 cents, rounded to the nearest cent.
pub(crate) fn charge_fee_cents(amount: i64) -> i64 {
    (amount * 29 + 500) / 1_000 + 30
}

/// What the method's name says that the bank will do.
fn bank_of(method: &str) -> Option<Decline> {
    match method {
        declined if declined.contains("declined") => Some(DECLINED),
        unsure if unsure.contains("authentication") => Some(AUTHENTICATION),
        _ => None,
    }
}

#[derive(Debug, Default)]
pub(crate) struct NewCustomer {
    pub(crate) email: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) metadata: Metadata,
}

#[derive(Debug, Default)]
pub(crate) struct NewIntent {
    pub(crate) amount: i64,
    pub(crate) customer: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) metadata: Metadata,
    pub(crate) transfer_group: Option<String>,
    pub(crate) automatic: bool,
    pub(crate) future_usage: Option<String>,
    pub(crate) method: Option<String>,
    pub(crate) confirm: bool,
}

#[derive(Debug, Default)]
pub(crate) struct NewRefund {
    pub(crate) intent: String,
    /// Everything that is left, if none.
    pub(crate) amount: Option<i64>,
    pub(crate) reason: Option<String>,
    pub(crate) metadata: Metadata,
}

impl Ledger {
    pub(crate) fn create_customer(&mut self, new: NewCustomer) -> String {
        let id = self.id("cus");
        let NewCustomer { email, name, description, metadata } = new;
        let created = self.now();
        let methods = Default::default();
        self.customers.insert(Customer { id: id.clone(), created, email, name, description, metadata, methods });
        id
    }

    pub(crate) fn remove_method(&mut self, customer: &str, method: &str) -> Result<(), Refusal> {
        let missing = || Refusal::missing("customer", customer);
        let removed = self.customers.get_mut(customer).ok_or_else(missing)?.methods.remove(method);
        if removed { Ok(()) } else { Err(Refusal::missing("PaymentMethod", method)) }
    }

    pub(crate) fn add_method(&mut self, customer: &str, method: &str) -> Result<(), Refusal> {
        let missing = || Refusal::missing("customer", customer);
        self.customers.get_mut(customer).ok_or_else(missing)?.methods.insert(method.to_owned());
        Ok(())
    }

    /// # Errors
    /// 402 if the bank declines: then the intent exists nevertheless.
    pub(crate) fn create_intent(&mut self, new: NewIntent) -> Result<String, Refusal> {
        self.check_intent(&new)?;
        let id = self.id("pi");
        let status =
            if new.method.is_some() { IntentStatus::RequiresConfirmation } else { IntentStatus::RequiresPaymentMethod };
        self.intents.insert(Intent {
            id: id.clone(),
            created: self.now(),
            amount: new.amount,
            customer: new.customer,
            description: new.description,
            metadata: new.metadata,
            transfer_group: new.transfer_group,
            automatic: new.automatic,
            future_usage: new.future_usage,
            method: new.method.clone(),
            status,
            charge: None,
            decline: None,
            canceled: None,
            cancellation_reason: None,
        });
        self.tell("payment_intent.created", &id);
        if let Some(method) = new.method.filter(|_| new.confirm) {
            self.confirm(&id, &method)?;
        }
        Ok(id)
    }

    fn check_intent(&self, new: &NewIntent) -> Result<(), Refusal> {
        if new.amount < AMOUNT_CENTS_MIN {
            return Err(Refusal::invalid("amount_too_small", "amount", "Amount must be at least $0.50 usd"));
        }
        if new.amount > AMOUNT_CENTS_MAX {
            return Err(Refusal::invalid("amount_too_large", "amount", "Amount must be no more than $999,999.99"));
        }
        let customer = match &new.customer {
            None => None,
            Some(id) => {
                let missing = || Refusal::missing("customer", id).in_param("customer");
                Some(self.customers.get(id).ok_or_else(missing)?)
            }
        };
        match &new.method {
            None if new.confirm => {
                let message = "You cannot confirm this PaymentIntent because it's missing a payment method.";
                Err(Refusal::invalid("parameter_missing", "payment_method", message))
            }
            Some(method) if !customer.is_some_and(|customer| customer.methods.contains(method)) => {
                Err(Refusal::missing("PaymentMethod", method).in_param("payment_method"))
            }
            _ => Ok(()),
        }
    }

    /// Asks the bank for the money.
    fn confirm(&mut self, id: &str, method: &str) -> Result<(), Refusal> {
        match bank_of(method) {
            None => {
                self.settle(id, method);
                Ok(())
            }
            Some(decline) => {
                self.decline(id, method, decline);
                let body = objects::render(self, id);
                let charge = self.intents.get(id).and_then(|intent| intent.charge.clone());
                Err(Refusal::declined(decline.code, decline.message)
                    .with("decline_code", json!(decline.decline_code))
                    .with("charge", json!(charge))
                    .with("payment_intent", body)
                    .with("payment_method", objects::payment_method(self, method, id)))
            }
        }
    }

    /// The customer pays in the browser, with a new card.
    pub(crate) fn pay(&mut self, id: &str) -> Result<(), Refusal> {
        self.require_payable(id)?;
        let method = self.id("pm");
        self.settle(id, &method);
        Ok(())
    }

    /// The customer's card is declined in the browser; another may be tried.
    pub(crate) fn pay_fails(&mut self, id: &str) -> Result<(), Refusal> {
        self.require_payable(id)?;
        let method = self.id("pm");
        self.decline(id, &method, DECLINED);
        Ok(())
    }

    pub(crate) fn cancel(&mut self, id: &str, reason: Option<String>) -> Result<(), Refusal> {
        self.require_payable(id)?;
        let now = self.now();
        if let Some(intent) = self.intents.get_mut(id) {
            intent.status = IntentStatus::Canceled;
            intent.canceled = Some(now);
            intent.cancellation_reason = reason;
        }
        self.tell("payment_intent.canceled", id);
        Ok(())
    }

    fn require_payable(&self, id: &str) -> Result<(), Refusal> {
        let intent = self.intents.get(id).ok_or_else(|| Refusal::missing("payment_intent", id))?;
        match intent.status {
            IntentStatus::RequiresPaymentMethod | IntentStatus::RequiresConfirmation => Ok(()),
            status @ (IntentStatus::Succeeded | IntentStatus::Canceled) => {
                let message = format!("This PaymentIntent's status is {}, so it cannot be done.", status.as_str());
                let body = objects::render(self, id);
                Err(Refusal::refused("payment_intent_unexpected_state", message).with("payment_intent", body))
            }
        }
    }

    fn settle(&mut self, id: &str, method: &str) {
        let charge = self.id("ch");
        let created = self.now();
        let Some(intent) = self.intents.get_mut(id) else { return };
        let amount = intent.amount;
        intent.status = IntentStatus::Succeeded;
        intent.method = Some(method.to_owned());
        intent.charge = Some(charge.clone());
        intent.decline = None;
        let keeper = intent.customer.clone().filter(|_| intent.future_usage.is_some());
        if let Some(customer) = keeper.and_then(|customer| self.customers.get_mut(&customer)) {
            customer.methods.insert(method.to_owned());
        }
        let fee = charge_fee_cents(amount);
        let entry = self.post(None, Movement::Charge, amount, fee, &charge);
        self.charges.insert(Charge {
            id: charge,
            created,
            intent: id.to_owned(),
            method: method.to_owned(),
            amount,
            refunded: 0,
            decline: None,
            entry: Some(entry),
        });
        self.tell("payment_intent.succeeded", id);
    }

    fn decline(&mut self, id: &str, method: &str, decline: Decline) {
        let charge = self.id("ch");
        let created = self.now();
        let Some(intent) = self.intents.get_mut(id) else { return };
        intent.status = IntentStatus::RequiresPaymentMethod;
        intent.method = None;
        intent.charge = Some(charge.clone());
        intent.decline = Some((method.to_owned(), decline));
        self.charges.insert(Charge {
            id: charge,
            created,
            intent: id.to_owned(),
            method: method.to_owned(),
            amount: intent.amount,
            refunded: 0,
            decline: Some(decline),
            entry: None,
        });
        self.tell("payment_intent.payment_failed", id);
    }

    /// The charge that was paid for an intent.
    fn paid_charge(&self, intent: &str) -> Result<&Charge, Refusal> {
        let found = self.intents.get(intent).ok_or_else(|| Refusal::missing("payment_intent", intent))?;
        let charge = found.charge.as_deref().and_then(|charge| self.charges.get(charge));
        charge.filter(|charge| charge.decline.is_none()).ok_or_else(|| {
            let message = format!("This PaymentIntent ({intent}) does not have a successful charge to refund.");
            Refusal::refused("payment_intent_unexpected_state", message)
        })
    }

    pub(crate) fn refund(&mut self, new: NewRefund) -> Result<String, Refusal> {
        let charge = self.paid_charge(&new.intent)?;
        let (charge_id, left) = (charge.id.clone(), charge.amount - charge.refunded);
        if self.disputed_cents(&charge_id) > 0 {
            let message = format!("Charge {charge_id} has been charged back; cannot issue a refund.");
            return Err(Refusal::refused("charge_disputed", message));
        }
        if left == 0 {
            let message = format!("Charge {charge_id} has already been refunded.");
            return Err(Refusal::refused("charge_already_refunded", message));
        }
        let amount = new.amount.unwrap_or(left);
        if amount > left {
            let message = format!("Refund amount ({amount}) is greater than unrefunded amount on charge ({left})");
            return Err(Refusal { param: Some("amount".to_owned()), ..Refusal::refused("amount_too_large", message) });
        }
        let id = self.id("re");
        let entry = self.post(None, Movement::Refund, -amount, 0, &id);
        self.add_refunded(&charge_id, amount);
        self.refunds.insert(Refund {
            id: id.clone(),
            created: self.now(),
            intent: new.intent,
            charge: charge_id.clone(),
            amount,
            reason: new.reason,
            metadata: new.metadata,
            entry,
            failure_entry: None,
        });
        self.tell("refund.created", &id);
        self.tell("charge.refunded", &charge_id);
        Ok(id)
    }

    /// The customer's bank sends a refund back.
    pub(crate) fn fail_refund(&mut self, id: &str) -> Result<(), Refusal> {
        let refund = self.refunds.get(id).ok_or_else(|| Refusal::missing("refund", id))?;
        if refund.failure_entry.is_some() {
            return Err(Refusal::refused("refund_failed", format!("Refund {id} has failed already.")));
        }
        let (charge, amount) = (refund.charge.clone(), refund.amount);
        let entry = self.post(None, Movement::RefundFailure, amount, 0, id);
        if let Some(refund) = self.refunds.get_mut(id) {
            refund.failure_entry = Some(entry);
        }
        self.add_refunded(&charge, -amount);
        self.tell("refund.updated", id);
        self.tell("refund.failed", id);
        Ok(())
    }

    fn add_refunded(&mut self, charge: &str, cents: i64) {
        if let Some(charge) = self.charges.get_mut(charge) {
            charge.refunded += cents;
        }
    }

    /// What is disputed of a charge, or was and is lost.
    pub(crate) fn disputed_cents(&self, charge: &str) -> i64 {
        let counts = |dispute: &&Dispute| dispute.charge == charge && dispute.status != DisputeStatus::Won;
        self.disputes.rows().iter().filter(counts).map(|dispute| dispute.amount).sum()
    }

    /// The customer's bank takes money back, refunded or not: up to the charge's whole amount in all disputes.
    pub(crate) fn dispute(&mut self, intent: &str, cents: i64) -> Result<String, Refusal> {
        let charge = self.paid_charge(intent)?;
        let (charge_id, amount) = (charge.id.clone(), charge.amount);
        let left = amount - self.disputed_cents(&charge_id);
        if cents <= 0 || cents > left {
            let message = format!("{cents} cents cannot be disputed where {left} can");
            return Err(Refusal::invalid("parameter_invalid_integer", "amount", message));
        }
        let id = self.id("dp");
        let entry = self.post(None, Movement::DisputeWithdrawn, -cents, DISPUTE_FEE_CENTS, &id);
        self.disputes.insert(Dispute {
            id: id.clone(),
            created: self.now(),
            intent: intent.to_owned(),
            charge: charge_id,
            amount: cents,
            status: DisputeStatus::NeedsResponse,
            entries: vec![entry],
        });
        self.tell("charge.dispute.created", &id);
        self.tell("charge.dispute.funds_withdrawn", &id);
        Ok(id)
    }

    pub(crate) fn close_dispute(&mut self, id: &str, won: bool) -> Result<(), Refusal> {
        let dispute = self.disputes.get_mut(id).ok_or_else(|| Refusal::missing("dispute", id))?;
        if dispute.status != DisputeStatus::NeedsResponse {
            return Err(Refusal::refused("dispute_closed", format!("Dispute {id} is closed already.")));
        }
        dispute.status = if won { DisputeStatus::Won } else { DisputeStatus::Lost };
        let amount = dispute.amount;
        if won {
            let entry = self.post(None, Movement::DisputeReturned, amount, 0, id);
            if let Some(dispute) = self.disputes.get_mut(id) {
                dispute.entries.push(entry);
            }
            self.tell("charge.dispute.funds_reinstated", id);
        }
        self.tell("charge.dispute.closed", id);
        Ok(())
    }

    /// The platform puts in money of its own.
    pub(crate) fn top_up(&mut self, cents: i64) -> Result<String, Refusal> {
        if cents <= 0 {
            return Err(Refusal::invalid("parameter_invalid_integer", "amount", "Invalid positive integer"));
        }
        let id = self.id("tu");
        let entry = self.post(None, Movement::Topup, cents, 0, &id);
        self.topups.insert(Topup { id: id.clone(), created: self.now(), amount: cents, entry });
        Ok(id)
    }
}
