//! The same key is the same request: done once, answered alike.

use crate::support::{Answer, Ask, SOON, get, intent, paid, post, provider, start, transfer};
use gollem_stripe_double::{Double, Faults};
use tokio::task::JoinHandle;

const INTENT: &str = "amount=1000&currency=usd&metadata[a]=1&metadata[b]=2";

#[tokio::test]
async fn the_same_key_gives_the_first_answer_again_and_does_nothing() {
    let double = start();
    let first = post(&double, "/v1/payment_intents", INTENT).key("k1").send().await;
    assert!(!first.replayed());
    // The order of parameters is of no account: clients keep metadata in hash maps.
    let turned = "metadata[b]=2&currency=usd&amount=1000&metadata[a]=1";
    let again = post(&double, "/v1/payment_intents", turned).key("k1").send().await;
    assert!(again.replayed());
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    assert_eq!(double.books().intents.len(), 1);
    let other = post(&double, "/v1/payment_intents", INTENT).key("k2").send().await;
    assert_ne!(other.id(), first.id());
}

#[tokio::test]
async fn a_key_belongs_to_its_parameters_its_path_and_its_account() {
    let double = start();
    post(&double, "/v1/payment_intents", INTENT).key("k1").send().await.id();
    for (path, body) in [("/v1/payment_intents", "amount=1001&currency=usd"), ("/v1/customers", INTENT)] {
        let refused = post(&double, path, body).key("k1").send().await;
        assert_eq!((refused.status, refused.body["error"]["type"].as_str()), (400, Some("idempotency_error")));
    }
    let account = provider(&double).await;
    double.top_up(1_000).unwrap();
    transfer(&double, &account, 1_000).await.id();
    post(&double, "/v1/payouts", "amount=400&currency=usd").key("k1").account(&account).send().await.id();
}

#[tokio::test]
async fn forgotten_keys_do_the_work_again() {
    let double = start();
    let first = post(&double, "/v1/payment_intents", INTENT).key("k1").send().await.id();
    double.forget_keys();
    assert_ne!(post(&double, "/v1/payment_intents", INTENT).key("k1").send().await.id(), first);
    assert_eq!(double.books().intents.len(), 2);
}

#[tokio::test]
async fn a_refusal_by_the_books_is_kept_and_one_of_parameters_is_not() {
    let double = start();
    let account = provider(&double).await;
    let body = format!("amount=500&currency=usd&destination={account}");
    let short = post(&double, "/v1/transfers", &body).key("t").send().await;
    assert_eq!((short.status, short.code()), (400, "balance_insufficient"));
    double.top_up(10_000).unwrap();
    let again = post(&double, "/v1/transfers", &body).key("t").send().await;
    assert_eq!((again.code(), again.replayed()), ("balance_insufficient", true));
    assert_eq!(double.books().transfers, []);

    let wrong = post(&double, "/v1/payment_intents", "amount=10&currency=usd").key("i").send().await;
    assert_eq!((wrong.status, wrong.code()), (400, "amount_too_small"));
    post(&double, "/v1/payment_intents", INTENT).key("i").send().await.id();
}

#[tokio::test]
async fn a_decline_is_kept_with_its_intent() {
    let double = start();
    let (customer, _) = intent(&double, 1_000).await;
    double.add_method(&customer, "pm_card_declined").unwrap();
    let body = format!(
        "amount=700&currency=usd&customer={customer}&payment_method=pm_card_declined&off_session=true&confirm=true"
    );
    let first = post(&double, "/v1/payment_intents", &body).key("d").send().await;
    assert_eq!((first.status, first.code()), (402, "card_declined"));
    assert_eq!(first.body["error"]["payment_intent"]["status"], "requires_payment_method");
    let again = post(&double, "/v1/payment_intents", &body).key("d").send().await;
    assert_eq!((again.status, again.replayed(), &again.body), (402, true, &first.body));
    assert_eq!(double.books().intents.len(), 2);
}

/// Sends a request whose work is slow, and returns when its key is taken.
async fn begin_slowly(double: &Double, ask: &Ask) -> JoinHandle<Answer> {
    double.set_faults(Faults { slow: 1_000, hang_ms: 300, ..Faults::default() });
    let slow = tokio::spawn(ask.clone().send());
    // On this runtime's one thread nothing comes between the call's being written down and the key's being taken.
    while double.calls().is_empty() {
        tokio::task::yield_now().await;
    }
    double.set_faults(Faults::default());
    slow
}

#[tokio::test]
async fn a_key_whose_request_is_under_way_is_in_use() {
    let double = start();
    let ask = post(&double, "/v1/payment_intents", INTENT).key("k");
    let first = begin_slowly(&double, &ask).await;
    let second = ask.clone().send().await;
    assert_eq!((second.status, second.code()), (409, "idempotency_key_in_use"));
    let first = first.await.unwrap();
    let third = ask.send().await;
    assert_eq!((third.id(), third.replayed()), (first.id(), true));
}

#[tokio::test]
async fn slow_work_is_done_though_its_client_has_left() {
    let double = start();
    let ask = post(&double, "/v1/payment_intents", INTENT).key("k");
    begin_slowly(&double, &ask).await.abort();
    let answer = async {
        loop {
            let answer = ask.clone().send().await;
            if answer.status != 409 {
                break answer;
            }
        }
    };
    let answer = tokio::time::timeout(SOON, answer).await.unwrap();
    assert!(answer.replayed());
    assert_eq!(double.books().intents[0].id, answer.id());
}

#[tokio::test]
async fn reading_needs_no_key_and_ignores_one() {
    let double = start();
    let intent = paid(&double, 1_000).await;
    for _ in 0..2 {
        let read = get(&double, &format!("/v1/payment_intents/{intent}")).key("k").send().await;
        assert_eq!((read.id(), read.replayed()), (intent.clone(), false));
    }
}
