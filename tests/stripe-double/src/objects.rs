//! Records as Stripe writes them in JSON, with every member that a strict client asks for.

use crate::ledger::Ledger;
use crate::records::{
    Account, Charge, Customer, Decline, Dispute, DisputeStatus, Entry, Intent, IntentStatus, Payout, PayoutStatus,
    Refund, Reversal, Topup, Transfer,
};
use serde_json::{Value, json};

/// The object with this id; null if there is none.
pub(crate) fn render(ledger: &Ledger, id: &str) -> Value {
    let object = match id.split('_').next().unwrap_or_default() {
        "cus" => ledger.customers.get(id).map(customer),
        "pi" => ledger.intents.get(id).map(|row| intent(ledger, row)),
        "ch" => ledger.charges.get(id).map(|row| charge(ledger, row)),
        "re" => ledger.refunds.get(id).map(refund),
        "dp" => ledger.disputes.get(id).map(|row| dispute(ledger, row)),
        "acct" => ledger.accounts.get(id).map(account),
        "tr" => ledger.transfers.get(id).map(|row| transfer(ledger, row)),
        "trr" => ledger.reversals.get(id).map(reversal),
        "po" => ledger.payouts.get(id).map(payout),
        "tu" => ledger.topups.get(id).map(topup),
        "txn" => ledger.entries.get(id).map(balance_transaction),
        _ => None,
    };
    object.unwrap_or_default()
}

/// Replaces ids by their objects along a path such as `data.source` or `latest_charge.balance_transaction`. What the
/// double does not know, a connected account's side of a transfer for one, stays an id.
pub(crate) fn expand(ledger: &Ledger, value: &mut Value, path: &str) {
    if let Value::Array(items) = value {
        for item in items {
            expand(ledger, item, path);
        }
        return;
    }
    let (name, rest) = path.split_once('.').unwrap_or((path, ""));
    let Some(member) = value.get_mut(name) else { return };
    if let Some(object) = member.as_str().map(|id| render(ledger, id)).filter(Value::is_object) {
        *member = object;
    }
    if !rest.is_empty() {
        expand(ledger, member, rest);
    }
}

fn customer(row: &Customer) -> Value {
    json!({
        "id": row.id, "object": "customer", "created": row.created, "livemode": false,
        "address": null, "balance": 0, "currency": null, "default_source": null, "delinquent": false,
        "description": row.description, "email": row.email, "name": row.name, "phone": null,
        "invoice_prefix": null, "metadata": row.metadata, "preferred_locales": [], "shipping": null,
        "tax_exempt": "none", "test_clock": null,
    })
}

fn intent(ledger: &Ledger, row: &Intent) -> Value {
    let received = if row.status == IntentStatus::Succeeded { row.amount } else { 0 };
    let error = row.decline.as_ref().map(|(method, decline)| {
        let mut error = card_error(decline);
        error["charge"] = json!(row.charge);
        error["payment_method"] = payment_method(ledger, method, &row.id);
        error
    });
    json!({
        "id": row.id, "object": "payment_intent", "created": row.created, "livemode": false,
        "amount": row.amount, "amount_capturable": 0, "amount_received": received, "currency": "usd",
        "amount_details": { "tip": {} }, "application": null, "application_fee_amount": null,
        "automatic_payment_methods": row.automatic.then(|| json!({ "allow_redirects": "always", "enabled": true })),
        "canceled_at": row.canceled, "cancellation_reason": row.cancellation_reason,
        "capture_method": "automatic_async", "client_secret": format!("{}_secret_double", row.id),
        "confirmation_method": "automatic", "customer": row.customer, "description": row.description,
        "last_payment_error": error, "latest_charge": row.charge, "metadata": row.metadata,
        "next_action": null, "on_behalf_of": null, "payment_method": row.method,
        "payment_method_configuration_details": null, "payment_method_options": {},
        "payment_method_types": ["card"], "processing": null, "receipt_email": null, "review": null,
        "setup_future_usage": row.future_usage, "shipping": null, "source": null,
        "statement_descriptor": null, "statement_descriptor_suffix": null, "status": row.status.as_str(),
        "transfer_data": null, "transfer_group": row.transfer_group,
    })
}

fn card_error(decline: &Decline) -> Value {
    json!({
        "type": "card_error", "code": decline.code, "decline_code": decline.decline_code,
        "message": decline.message,
    })
}

/// A card that was used for an intent.
pub(crate) fn payment_method(ledger: &Ledger, id: &str, intent: &str) -> Value {
    let intent = ledger.intents.get(intent);
    let customer = intent.and_then(|intent| intent.customer.as_deref());
    let owner = customer.and_then(|customer| ledger.customers.get(customer));
    json!({
        "id": id, "object": "payment_method", "created": intent.map(|intent| intent.created), "livemode": false,
        "allow_redisplay": "unspecified", "billing_details": billing_details(),
        "card": {
            "brand": "visa", "checks": null, "country": "US", "display_brand": "visa", "exp_month": 12,
            "exp_year": 2034, "fingerprint": null, "funding": "credit", "generated_from": null, "last4": "4242",
            "networks": null, "regulated_status": "unregulated", "three_d_secure_usage": null, "wallet": null,
        },
        "customer": owner.filter(|owner| owner.methods.contains(id)).map(|owner| &owner.id),
        "metadata": {}, "type": "card",
    })
}

fn billing_details() -> Value {
    json!({ "address": null, "email": null, "name": null, "phone": null, "tax_id": null })
}

fn charge(ledger: &Ledger, row: &Charge) -> Value {
    let intent = ledger.intents.get(&row.intent);
    let paid = row.decline.is_none();
    let disputed = ledger.disputes.rows().iter().any(|dispute| dispute.charge == row.id);
    json!({
        "id": row.id, "object": "charge", "created": row.created, "livemode": false,
        "amount": row.amount, "amount_captured": if paid { row.amount } else { 0 },
        "amount_refunded": row.refunded, "application": null, "application_fee": null,
        "application_fee_amount": null, "balance_transaction": row.entry, "billing_details": billing_details(),
        "calculated_statement_descriptor": "GOLLEM", "captured": paid, "currency": "usd",
        "customer": intent.and_then(|intent| intent.customer.as_ref()),
        "description": intent.and_then(|intent| intent.description.as_ref()), "disputed": disputed,
        "failure_balance_transaction": null, "failure_code": row.decline.map(|decline| decline.code),
        "failure_message": row.decline.map(|decline| decline.message), "fraud_details": {},
        "metadata": intent.map(|intent| &intent.metadata), "on_behalf_of": null, "outcome": null,
        "paid": paid, "payment_intent": row.intent, "payment_method": row.method,
        "payment_method_details": { "type": "card" }, "receipt_email": null, "receipt_number": null,
        "receipt_url": null, "refunded": row.refunded == row.amount, "review": null, "shipping": null,
        "source": null, "source_transfer": null, "statement_descriptor": null,
        "statement_descriptor_suffix": null, "status": if paid { "succeeded" } else { "failed" },
        "transfer_data": null, "transfer_group": intent.and_then(|intent| intent.transfer_group.as_ref()),
    })
}

fn refund(row: &Refund) -> Value {
    let failed = row.failure_entry.is_some();
    let mut object = json!({
        "id": row.id, "object": "refund", "created": row.created, "amount": row.amount, "currency": "usd",
        "balance_transaction": row.entry, "charge": row.charge, "metadata": row.metadata,
        "destination_details": {
            "card": { "reference_status": "pending", "reference_type": "acquirer_reference_number", "type": "refund" },
            "type": "card",
        },
        "payment_intent": row.intent, "reason": row.reason, "receipt_number": null,
        "source_transfer_reversal": null, "status": if failed { "failed" } else { "succeeded" },
        "transfer_reversal": null,
    });
    if failed {
        object["failure_balance_transaction"] = json!(row.failure_entry);
        object["failure_reason"] = json!("lost_or_stolen_card");
    }
    object
}

fn dispute(ledger: &Ledger, row: &Dispute) -> Value {
    let entries = row.entries.iter().map(|id| render(ledger, id));
    json!({
        "id": row.id, "object": "dispute", "created": row.created, "livemode": false, "amount": row.amount,
        "balance_transactions": entries.collect::<Vec<_>>(), "charge": row.charge, "currency": "usd",
        "enhanced_eligibility_types": [], "evidence": { "enhanced_evidence": {} },
        "evidence_details": {
            "due_by": row.created + 7 * 86_400, "enhanced_eligibility": {}, "has_evidence": false,
            "past_due": false, "submission_count": 0,
        },
        "is_charge_refundable": row.status == DisputeStatus::Won, "metadata": {},
        "network_reason_code": "10.4", "payment_intent": row.intent,
        "payment_method_details": {
            "card": { "brand": "visa", "case_type": "chargeback", "network": "visa", "network_reason_code": "10.4" },
            "type": "card",
        },
        "reason": "fraudulent", "status": row.status.as_str(),
    })
}

fn account(row: &Account) -> Value {
    let capability = if row.enabled { "active" } else { "inactive" };
    let due = if row.submitted { json!([]) } else { json!(["external_account", "tos_acceptance.date"]) };
    let disabled_reason = match (row.enabled, row.submitted) {
        (true, _) => None,
        (false, true) => Some("requirements.pending_verification"),
        (false, false) => Some("requirements.past_due"),
    };
    json!({
        "id": row.id, "object": "account", "created": row.created, "type": row.kind, "country": row.country,
        "email": row.email, "metadata": row.metadata, "business_type": "individual",
        "capabilities": { "transfers": capability }, "charges_enabled": false,
        "default_currency": "usd", "details_submitted": row.submitted, "payouts_enabled": row.enabled,
        "requirements": {
            "alternatives": [], "current_deadline": null, "currently_due": due, "disabled_reason": disabled_reason,
            "errors": [], "eventually_due": due, "past_due": due, "pending_verification": [],
        },
    })
}

/// A link to the double itself: whoever opens it is onboarded.
pub(crate) fn account_link(ledger: &Ledger, account: &str, return_url: &str) -> Value {
    let created = ledger.now();
    let back: String = url::form_urlencoded::byte_serialize(return_url.as_bytes()).collect();
    let url = format!("{}/double/onboard/{account}?return_url={back}", ledger.url);
    json!({ "object": "account_link", "created": created, "expires_at": created + 300, "url": url })
}

fn transfer(ledger: &Ledger, row: &Transfer) -> Value {
    let reversals = row.reversals.iter().rev().map(|id| render(ledger, id));
    json!({
        "id": row.id, "object": "transfer", "created": row.created, "livemode": false, "amount": row.amount,
        "amount_reversed": row.reversed, "balance_transaction": row.entry, "currency": "usd",
        "description": row.description, "destination": row.destination,
        "destination_payment": row.destination_payment, "metadata": row.metadata,
        "reversals": {
            "object": "list", "data": reversals.collect::<Vec<_>>(), "has_more": false,
            "total_count": row.reversals.len(), "url": format!("/v1/transfers/{}/reversals", row.id),
        },
        "reversed": row.reversed == row.amount, "source_transaction": null, "source_type": "card",
        "transfer_group": row.group,
    })
}

fn reversal(row: &Reversal) -> Value {
    json!({
        "id": row.id, "object": "transfer_reversal", "created": row.created, "amount": row.amount,
        "balance_transaction": row.entry, "currency": "usd", "destination_payment_refund": null,
        "metadata": row.metadata, "source_refund": null, "transfer": row.transfer,
    })
}

fn payout(row: &Payout) -> Value {
    let failed = row.status == PayoutStatus::Failed;
    json!({
        "id": row.id, "object": "payout", "created": row.created, "livemode": false, "amount": row.amount,
        "application_fee": null, "application_fee_amount": null, "arrival_date": row.created + 2 * 86_400,
        "automatic": false, "balance_transaction": row.entry, "currency": "usd", "description": row.description,
        "destination": null, "failure_balance_transaction": row.failure_entry,
        "failure_code": failed.then_some("account_closed"),
        "failure_message": failed.then_some("The bank account has been closed."), "metadata": row.metadata,
        "method": row.method, "original_payout": null, "payout_method": null,
        "reconciliation_status": "not_applicable", "reversed_by": null, "source_type": "card",
        "statement_descriptor": null, "status": row.status.as_str(), "trace_id": null, "type": "bank_account",
    })
}

fn topup(row: &Topup) -> Value {
    json!({
        "id": row.id, "object": "topup", "created": row.created, "livemode": false, "amount": row.amount,
        "balance_transaction": row.entry, "currency": "usd", "description": null,
        "expected_availability_date": row.created, "failure_code": null, "failure_message": null, "metadata": {},
        "source": null, "statement_descriptor": null, "status": "succeeded", "transfer_group": null,
    })
}

fn balance_transaction(row: &Entry) -> Value {
    let (kind, category) = row.movement.names();
    let fees = match row.fee {
        0 => json!([]),
        fee => json!([{
            "amount": fee, "application": null, "currency": "usd", "description": "Stripe processing fees",
            "type": "stripe_fee",
        }]),
    };
    json!({
        "id": row.id, "object": "balance_transaction", "created": row.created, "amount": row.amount,
        "available_on": row.created, "balance_type": "payments", "currency": "usd", "description": null,
        "exchange_rate": null, "fee": row.fee, "fee_details": fees, "net": row.amount - row.fee,
        "reporting_category": category, "source": row.source, "status": "available", "type": kind,
    })
}
