//! What goes wrong on purpose, and what was done nevertheless.

use crate::support::{SOON, get, post, start};
use gollem_stripe_double::{Double, Faults, Options};

const INTENT: &str = "amount=1000&currency=usd&metadata[order]=7";

/// A double on which every call meets the fault.
fn always(faults: Faults) -> Double {
    Double::start(Options { faults, ..Options::default() }).unwrap()
}

#[tokio::test]
async fn an_error_before_the_work_leaves_nothing_behind() {
    let double = always(Faults { error_500_before: 1_000, ..Faults::default() });
    let failed = post(&double, "/v1/payment_intents", INTENT).key("k").send().await;
    assert_eq!((failed.status, failed.body["error"]["type"].as_str()), (500, Some("api_error")));
    assert_eq!(double.books().intents, []);
    double.set_faults(Faults::default());
    let done = post(&double, "/v1/payment_intents", INTENT).key("k").send().await;
    assert!(!done.replayed());
    assert_eq!(double.books().intents[0].id, done.id());
}

#[tokio::test]
async fn an_error_after_the_work_is_kept_and_the_work_stands() {
    let double = always(Faults { error_500_after: 1_000, ..Faults::default() });
    assert_eq!(post(&double, "/v1/payment_intents", INTENT).key("k").send().await.status, 500);
    assert_eq!(double.books().intents.len(), 1);
    double.set_faults(Faults::default());
    let again = post(&double, "/v1/payment_intents", INTENT).key("k").send().await;
    assert_eq!((again.status, again.replayed()), (500, true));
    // Only a look at what is there tells.
    let list = get(&double, "/v1/payment_intents").send().await;
    assert_eq!(list.body["data"][0]["metadata"]["order"], "7");
    assert_eq!(double.books().intents.len(), 1);
}

#[tokio::test]
async fn a_hanging_call_does_the_work_and_never_answers() {
    let double = always(Faults { hang_after: 1_000, hang_ms: 50, ..Faults::default() });
    assert!(post(&double, "/v1/payment_intents", INTENT).key("k").try_send().await.is_none());
    assert_eq!(double.books().intents.len(), 1);
    double.set_faults(Faults::default());
    let again = post(&double, "/v1/payment_intents", INTENT).key("k").send().await;
    assert_eq!((again.id(), again.replayed()), (double.books().intents[0].id.clone(), true));
}

#[tokio::test]
async fn a_hanging_call_is_done_long_before_the_connection_closes() {
    let double = always(Faults { hang_after: 1_000, hang_ms: 600_000, ..Faults::default() });
    let hanging = tokio::spawn(post(&double, "/v1/payment_intents", INTENT).try_send());
    let done = async {
        while double.books().intents.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, done).await.unwrap();
    assert!(!hanging.is_finished());
    double.stop().await;
    assert!(hanging.await.unwrap().is_none());
}

#[tokio::test]
async fn a_reset_connection_leaves_nothing_behind() {
    let double = always(Faults { reset_before: 1_000, ..Faults::default() });
    assert!(post(&double, "/v1/payment_intents", INTENT).try_send().await.is_none());
    assert_eq!(double.books().intents, []);
    assert_eq!(double.calls().len(), 1);
}

#[tokio::test]
async fn too_many_requests_say_when_to_come_again() {
    let double = always(Faults { too_many_429: 1_000, ..Faults::default() });
    let mut waits = Vec::new();
    for _ in 0..16 {
        let refused = post(&double, "/v1/payment_intents", INTENT).key("k").send().await;
        assert_eq!((refused.status, refused.code()), (429, "rate_limit"));
        waits.push(refused.headers["retry-after"].to_str().unwrap().to_owned());
    }
    assert!(waits.iter().all(|wait| wait == "0" || wait == "1"));
    assert!(waits.contains(&"0".to_owned()) && waits.contains(&"1".to_owned()));
    assert_eq!(double.books().intents, []);
}

#[tokio::test]
async fn the_same_seed_meets_the_same_faults() {
    let run = async |seed| {
        let faults = Faults { error_500_before: 300, reset_before: 200, ..Faults::default() };
        let double = Double::start(Options { seed, faults, ..Options::default() }).unwrap();
        let mut statuses = Vec::new();
        for key in ["a", "b", "c", "d"] {
            for _ in 0..8 {
                let answer = post(&double, "/v1/payment_intents", INTENT).key(key).try_send().await;
                statuses.push(answer.map(|answer| answer.status));
            }
        }
        (statuses, double.books().intents)
    };
    let first = run(7).await;
    assert!(first.0.contains(&None) && first.0.contains(&Some(500)) && first.0.contains(&Some(200)));
    assert_eq!(run(7).await, first);
    assert_ne!(run(8).await.0, first.0);
}

#[tokio::test]
async fn strangers_and_unknown_paths_and_parameters_are_refused() {
    let double = start();
    let stranger = post(&double, "/v1/payment_intents", INTENT).header("authorization", "Bearer sk_wrong").send().await;
    assert_eq!((stranger.status, stranger.body["error"]["type"].as_str()), (401, Some("invalid_request_error")));
    assert_eq!(get(&double, "/v1/coupons").send().await.status, 404);
    let misspelt = post(&double, "/v1/payment_intents", "amount=1000&currency=usd&custmer=x").send().await;
    assert_eq!((misspelt.status, misspelt.code()), (400, "parameter_unknown"));
    let missing = get(&double, "/v1/payment_intents/pi_none").send().await;
    assert_eq!((missing.status, missing.code()), (404, "resource_missing"));
    let nobody = post(&double, "/v1/payouts", "amount=1&currency=usd").account("acct_none").send().await;
    assert_eq!((nobody.status, nobody.code()), (403, "account_invalid"));
    assert_eq!(double.books().intents, []);
}

#[tokio::test]
async fn calls_are_written_down_as_they_came() {
    let double = start();
    post(&double, "/v1/customers", "email=a%40b.c").key("k").send().await.id();
    get(&double, "/v1/events?limit=3").send().await;
    let calls = double.calls();
    assert_eq!(calls.len(), 2);
    assert_eq!((calls[0].method.as_str(), calls[0].path.as_str()), ("POST", "/v1/customers"));
    assert_eq!((calls[0].idempotency_key.as_deref(), calls[0].body.as_str()), (Some("k"), "email=a%40b.c"));
    assert_eq!((calls[1].path.as_str(), calls[1].account.as_deref()), ("/v1/events?limit=3", None));
}

#[tokio::test]
async fn a_stopped_double_leaves_its_port() {
    let double = start();
    let listen = double.url().strip_prefix("http://").unwrap().parse().unwrap();
    let ask = get(&double, "/v1/events");
    assert_eq!(ask.clone().send().await.status, 200);
    double.stop().await;
    let _again = Double::start(Options { listen, ..Options::default() }).unwrap();
    assert_eq!(ask.send().await.status, 200);
}
