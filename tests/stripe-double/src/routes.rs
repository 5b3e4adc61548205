//! Which path means what. Everything here runs to the end under one lock.

use crate::connect::{NewAccount, NewPayout, NewTransfer};
use crate::form::Form;
use crate::ledger::Ledger;
use crate::lists::{Since, page};
use crate::objects;
use crate::payments::{NewCustomer, NewIntent, NewRefund};
use crate::records::{Row, Table};
use crate::refusal::Refusal;
use serde_json::Value;

/// A request to `/v1`, taken apart.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Without the query.
    pub(crate) path: String,
    /// Of the query for GET, of the body for POST.
    pub(crate) form: Form,
    /// `Stripe-Account`.
    pub(crate) account: Option<String>,
}

/// Does what is asked and returns the object that comes of it.
pub(crate) fn answer(ledger: &mut Ledger, request: &Request) -> Result<Value, Refusal> {
    let form = &request.form;
    check_account(ledger, request)?;
    let segments: Vec<&str> = request.path.split('/').filter(|segment| !segment.is_empty()).skip(1).collect();
    let created = match (request.method.as_str(), segments.as_slice()) {
        ("POST", ["customers"]) => create_customer(ledger, form)?,
        ("POST", ["payment_intents"]) => create_intent(ledger, form)?,
        ("POST", ["payment_intents", id, "cancel"]) => cancel_intent(ledger, id, form)?,
        ("POST", ["refunds"]) => create_refund(ledger, form)?,
        ("POST", ["accounts"]) => create_account(ledger, form)?,
        ("POST", ["account_links"]) => return account_link(ledger, form),
        ("POST", ["transfers"]) => create_transfer(ledger, form)?,
        ("POST", ["transfers", id, "reversals"]) => reverse_transfer(ledger, id, form)?,
        ("POST", ["payouts"]) => create_payout(ledger, request)?,
        ("GET", [noun]) => return list(ledger, noun, request),
        ("GET", ["transfers", id, "reversals"]) => {
            return list_of(ledger, &ledger.reversals, request, &[], |row| row.transfer == **id);
        }
        ("GET", [noun, id]) => return get(ledger, noun, id, request),
        (method, _) => return Err(Refusal::no_route(method, &request.path)),
    };
    Ok(expanded(ledger, objects::render(ledger, &created), form))
}

fn expanded(ledger: &Ledger, mut object: Value, form: &Form) -> Value {
    for path in form.expansions() {
        objects::expand(ledger, &mut object, &path);
    }
    object
}

/// Only what belongs to connected accounts may be asked in their name, so that a header too many is noticed.
fn check_account(ledger: &Ledger, request: &Request) -> Result<(), Refusal> {
    let noun = request.path.split('/').nth(2).unwrap_or_default();
    match &request.account {
        None if noun == "payouts" => {
            let message = "The double has payouts of connected accounts only: the Stripe-Account header is missing.";
            Err(Refusal::invalid("parameter_missing", "Stripe-Account", message))
        }
        None => Ok(()),
        Some(id) if ledger.accounts.get(id).is_none() => Err(Refusal::foreign_account(id)),
        Some(_) if matches!(noun, "payouts" | "balance_transactions" | "events") => Ok(()),
        Some(_) => {
            let message = format!("The double has no {noun} of connected accounts.");
            Err(Refusal::invalid("parameter_unknown", "Stripe-Account", message))
        }
    }
}

fn create_customer(ledger: &mut Ledger, form: &Form) -> Result<String, Refusal> {
    form.only(&["email", "name", "description", "metadata"])?;
    Ok(ledger.create_customer(NewCustomer {
        email: form.owned("email"),
        name: form.owned("name"),
        description: form.owned("description"),
        metadata: form.metadata()?,
    }))
}

fn create_intent(ledger: &mut Ledger, form: &Form) -> Result<String, Refusal> {
    form.only(&[
        "amount",
        "automatic_payment_methods",
        "confirm",
        "currency",
        "customer",
        "description",
        "metadata",
        "off_session",
        "payment_method",
        "payment_method_types",
        "receipt_email",
        "return_url",
        "setup_future_usage",
        "statement_descriptor_suffix",
        "transfer_group",
    ])?;
    form.require_usd()?;
    let confirm = form.flag("confirm")?;
    if form.flag("off_session")? && !confirm {
        let message = "The parameter `off_session` cannot be passed unless `confirm` is set to true.";
        return Err(Refusal::invalid("parameter_unknown", "off_session", message));
    }
    let future_usage = form.owned("setup_future_usage");
    if !matches!(future_usage.as_deref(), None | Some("on_session" | "off_session")) {
        let message = "Invalid setup_future_usage: must be one of off_session or on_session";
        return Err(Refusal::invalid("parameter_invalid_string", "setup_future_usage", message));
    }
    ledger.create_intent(NewIntent {
        amount: form.required_cents("amount")?,
        customer: form.owned("customer"),
        description: form.owned("description"),
        metadata: form.metadata()?,
        transfer_group: form.owned("transfer_group"),
        automatic: form.flag("automatic_payment_methods[enabled]")?,
        future_usage,
        method: form.owned("payment_method"),
        confirm,
    })
}

fn cancel_intent(ledger: &mut Ledger, id: &str, form: &Form) -> Result<String, Refusal> {
    form.only(&["cancellation_reason"])?;
    ledger.cancel(id, form.owned("cancellation_reason"))?;
    Ok(id.to_owned())
}

fn create_refund(ledger: &mut Ledger, form: &Form) -> Result<String, Refusal> {
    form.only(&["amount", "metadata", "payment_intent", "reason"])?;
    let intent = form.required("payment_intent")?.to_owned();
    let (amount, metadata) = (form.cents("amount")?, form.metadata()?);
    let reason = form.owned("reason");
    if ledger.intents.get(&intent).is_none() {
        return Err(Refusal::missing("payment_intent", &intent).in_param("payment_intent"));
    }
    ledger.refund(NewRefund { intent, amount, reason, metadata })
}

fn create_account(ledger: &mut Ledger, form: &Form) -> Result<String, Refusal> {
    let known = ["business_profile", "business_type", "capabilities", "controller", "country", "default_currency"];
    form.only(&[&known[..], &["email", "metadata", "settings", "type"]].concat())?;
    let kind = form.text("type").unwrap_or(if form.text("controller[fees][payer]").is_some() { "none" } else { "" });
    if !matches!(kind, "express" | "custom" | "standard" | "none") {
        let message = "An account needs a type (express, custom, standard) or a controller.";
        return Err(Refusal::invalid("parameter_missing", "type", message));
    }
    Ok(ledger.create_account(NewAccount {
        kind: kind.to_owned(),
        country: form.text("country").unwrap_or("US").to_owned(),
        email: form.owned("email"),
        metadata: form.metadata()?,
    }))
}

fn account_link(ledger: &Ledger, form: &Form) -> Result<Value, Refusal> {
    form.only(&["account", "collection_options", "refresh_url", "return_url", "type"])?;
    let account = form.required("account")?;
    ledger.accounts.get(account).ok_or_else(|| Refusal::missing("account", account).in_param("account"))?;
    form.required("refresh_url")?;
    match form.required("type")? {
        "account_onboarding" => Ok(objects::account_link(ledger, account, form.required("return_url")?)),
        other => Err(Refusal::invalid("parameter_invalid_string", "type", format!("Invalid type: {other}"))),
    }
}

fn create_transfer(ledger: &mut Ledger, form: &Form) -> Result<String, Refusal> {
    form.only(&["amount", "currency", "description", "destination", "metadata", "transfer_group"])?;
    form.require_usd()?;
    ledger.transfer(NewTransfer {
        amount: form.required_cents("amount")?,
        destination: form.required("destination")?.to_owned(),
        description: form.owned("description"),
        group: form.owned("transfer_group"),
        metadata: form.metadata()?,
    })
}

fn reverse_transfer(ledger: &mut Ledger, id: &str, form: &Form) -> Result<String, Refusal> {
    form.only(&["amount", "description", "metadata"])?;
    ledger.reverse(id, form.cents("amount")?, form.metadata()?)
}

fn create_payout(ledger: &mut Ledger, request: &Request) -> Result<String, Refusal> {
    let form = &request.form;
    form.only(&["amount", "currency", "description", "metadata", "method", "statement_descriptor"])?;
    form.require_usd()?;
    let method = form.text("method").unwrap_or("standard");
    if !matches!(method, "standard" | "instant") {
        return Err(Refusal::invalid("parameter_invalid_string", "method", format!("Invalid method: {method}")));
    }
    ledger.create_payout(NewPayout {
        account: request.account.clone().unwrap_or_default(),
        amount: form.required_cents("amount")?,
        method: method.to_owned(),
        description: form.owned("description"),
        metadata: form.metadata()?,
    })
}

fn get(ledger: &Ledger, noun: &str, id: &str, request: &Request) -> Result<Value, Refusal> {
    request.form.only(&["client_secret"])?;
    let account = request.account.as_deref();
    let found = match noun {
        "customers" => ledger.customers.get(id).is_some(),
        "payment_intents" => ledger.intents.get(id).is_some(),
        "charges" => ledger.charges.get(id).is_some(),
        "refunds" => ledger.refunds.get(id).is_some(),
        "disputes" => ledger.disputes.get(id).is_some(),
        "accounts" => ledger.accounts.get(id).is_some(),
        "transfers" => ledger.transfers.get(id).is_some(),
        "payouts" => ledger.payouts.get(id).is_some_and(|row| Some(row.account.as_str()) == account),
        "balance_transactions" => ledger.entries.get(id).is_some_and(|row| row.account.as_deref() == account),
        "events" => {
            let mine = |event: &&Value| event["id"] == id && event.get("account").and_then(Value::as_str) == account;
            return ledger.events.iter().find(mine).cloned().ok_or_else(|| Refusal::missing("event", id));
        }
        _ => return Err(Refusal::no_route("GET", &request.path)),
    };
    match found {
        true => Ok(expanded(ledger, objects::render(ledger, id), &request.form)),
        false => Err(Refusal::missing(noun.strip_suffix('s').unwrap_or(noun), id)),
    }
}

fn list(ledger: &Ledger, noun: &str, request: &Request) -> Result<Value, Refusal> {
    let form = &request.form;
    let account = request.account.as_deref();
    let wants = |name: &str, value: Option<&str>| form.text(name).is_none_or(|wanted| value == Some(wanted));
    match noun {
        "customers" => {
            list_of(ledger, &ledger.customers, request, &["email"], |row| wants("email", row.email.as_deref()))
        }
        "payment_intents" => {
            list_of(ledger, &ledger.intents, request, &["customer"], |row| wants("customer", row.customer.as_deref()))
        }
        "charges" => list_of(ledger, &ledger.charges, request, &["payment_intent"], |row| {
            wants("payment_intent", Some(&row.intent))
        }),
        "refunds" => list_of(ledger, &ledger.refunds, request, &["charge", "payment_intent"], |row| {
            wants("payment_intent", Some(&row.intent)) && wants("charge", Some(&row.charge))
        }),
        "disputes" => list_of(ledger, &ledger.disputes, request, &["charge", "payment_intent"], |row| {
            wants("payment_intent", Some(&row.intent)) && wants("charge", Some(&row.charge))
        }),
        "accounts" => list_of(ledger, &ledger.accounts, request, &[], |_| true),
        "transfers" => list_of(ledger, &ledger.transfers, request, &["destination", "transfer_group"], |row| {
            wants("transfer_group", row.group.as_deref()) && wants("destination", Some(&row.destination))
        }),
        "payouts" => list_of(ledger, &ledger.payouts, request, &["status"], |row| {
            Some(row.account.as_str()) == account && wants("status", Some(row.status.as_str()))
        }),
        "balance_transactions" => list_of(ledger, &ledger.entries, request, &["source", "type"], |row| {
            row.account.as_deref() == account
                && wants("type", Some(row.movement.names().0))
                && wants("source", Some(&row.source))
        }),
        "events" => list_events(ledger, request),
        _ => Err(Refusal::no_route("GET", &request.path)),
    }
}

fn list_of<T: Row>(
    ledger: &Ledger,
    table: &Table<T>,
    request: &Request,
    filters: &[&str],
    keep: impl Fn(&T) -> bool,
) -> Result<Value, Refusal> {
    let since = Since::read(&request.form, filters)?;
    let rows = table.rows().iter().map(|row| (row.id(), row.created(), keep(row)));
    let page = page(rows, &since, &request.path, |id| objects::render(ledger, id))?;
    Ok(expanded(ledger, page, &request.form))
}

/// As at Stripe, a connected account's events are listed in its name only.
fn list_events(ledger: &Ledger, request: &Request) -> Result<Value, Refusal> {
    let form = &request.form;
    let since = Since::read(form, &["type"])?;
    let rows = ledger.events.iter().map(|event| {
        let whose = event.get("account").and_then(Value::as_str) == request.account.as_deref();
        let kind = form.text("type").is_none_or(|wanted| event["type"] == wanted);
        (event["id"].as_str().unwrap_or_default(), event["created"].as_i64().unwrap_or_default(), whose && kind)
    });
    page(rows, &since, &request.path, |id| {
        ledger.events.iter().find(|event| event["id"] == id).cloned().unwrap_or_default()
    })
}
