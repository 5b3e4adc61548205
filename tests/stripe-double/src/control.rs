//! `/double/...`: what customers, banks and providers do, for those who try things by hand. No key is needed.

use crate::form::Form;
use crate::idempotency::Answer;
use crate::ledger::Ledger;
use crate::objects;
use crate::payments::NewRefund;
use crate::records::Metadata;
use crate::refusal::Refusal;
use crate::server::{json, refusal, with};
use crate::shared::Shared;
use http_body_util::Full;
use hyper::Response;
use hyper::body::Bytes;

pub(crate) fn answer(shared: &Shared, path: &str, form: &Form) -> Response<Full<Bytes>> {
    let segments: Vec<&str> = path.split('/').skip(2).collect();
    let done = shared.act(|state| {
        let id = act(&mut state.ledger, &segments, form)?;
        Ok::<_, Refusal>(objects::render(&state.ledger, &id))
    });
    match (done, form.text("return_url")) {
        (Err(refused), _) => refusal(&refused),
        (Ok(body), None) => json(&Answer { status: 200, body }),
        // Somebody's browser is on the way through the onboarding.
        (Ok(body), Some(back)) => with(json(&Answer { status: 303, body }), "location", back),
    }
}

/// Returns the id of what was changed or made.
fn act(ledger: &mut Ledger, segments: &[&str], form: &Form) -> Result<String, Refusal> {
    let cents = form.cents("cents")?;
    match segments {
        ["pay", intent] => ledger.pay(intent).map(|()| (*intent).to_owned()),
        ["decline", intent] => ledger.pay_fails(intent).map(|()| (*intent).to_owned()),
        ["refund", intent] => {
            ledger.refund(NewRefund { intent: (*intent).to_owned(), amount: cents, ..NewRefund::default() })
        }
        ["refund", refund, "failed"] => ledger.fail_refund(refund).map(|()| (*refund).to_owned()),
        ["dispute", intent] => {
            let amount = ledger.intents.get(intent).map(|intent| intent.amount).unwrap_or_default();
            ledger.dispute(intent, cents.unwrap_or(amount))
        }
        ["dispute", dispute, end @ ("won" | "lost")] => {
            ledger.close_dispute(dispute, *end == "won").map(|()| (*dispute).to_owned())
        }
        ["onboard", account] => ledger.enable(account, true).map(|()| (*account).to_owned()),
        ["disable", account] => ledger.enable(account, false).map(|()| (*account).to_owned()),
        ["payout", payout, "paid"] => ledger.pay_out(payout).map(|()| (*payout).to_owned()),
        ["payout", payout, "failed"] => ledger.fail_payout(payout).map(|()| (*payout).to_owned()),
        ["reverse", transfer] => ledger.reverse(transfer, cents, Metadata::new()),
        ["topup"] => ledger.top_up(cents.unwrap_or_default()),
        _ => Err(Refusal::no_route("POST", &format!("/double/{}", segments.join("/")))),
    }
}
