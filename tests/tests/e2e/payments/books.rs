//! `gollem admin reconcile`, as an operator runs it.

use crate::support::bank::{Bank, buy};
use crate::support::market::open_account;
use crate::support::process::binary;
use crate::support::{DEADLINE, eventually};
use serde_json::{Value, json};
use std::process::Command;

/// Exit status, standard output and standard error.
fn reconcile(bank: &Bank, arguments: &[&str], key: Option<&str>) -> (Option<i32>, String, String) {
    let mut command = Command::new(binary("gollem"));
    command
        .args(["admin", "reconcile", "--url", bank.venue.admin.base()])
        .args(arguments)
        .env_remove("GOLLEM_ADMIN_KEY");
    command.envs(key.map(|key| ("GOLLEM_ADMIN_KEY", key)));
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_compares_the_books_and_each_difference_is_named() {
    let bank = Bank::open().await;
    let ann = open_account(&bank.venue.admin, "ann", &["read", "trade"]).await;
    buy(&bank, &ann.api, "10.00", "k").await;
    eventually("it is credited", async || (ann.balance().await.available > 0).then_some(())).await;
    let key = bank.venue.admin.key().to_owned();
    let (code, told, _) = tokio::task::block_in_place(|| reconcile(&bank, &[], Some(&key)));
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("the books agree") && told.contains("10.00"), "{told}");

    // Money that the ledger cannot take: more than is left is disputed after a refund. What is left it takes.
    let id = buy(&bank, &ann.api, "20.00", "other").await;
    eventually("it is credited", async || (ann.balance().await.available > 2_500_000_000_000).then_some(())).await;
    // Whoever still looks at the payment might see the dispute and not the refund before it.
    assert!(bank.stripe.quiet(DEADLINE).await);
    bank.stripe.refund(&id, 1_500).unwrap();
    assert!(bank.stripe.quiet(DEADLINE).await);
    bank.stripe.dispute(&id, 2_000).unwrap();
    let differs = eventually("they differ", async || {
        let (code, told, error) = tokio::task::block_in_place(|| reconcile(&bank, &["--json"], Some(&key)));
        (code == Some(1)).then_some((told, error))
    })
    .await;
    let report: Value = serde_json::from_str(&differs.0).unwrap();
    let difference = &report["differences"][0];
    assert_eq!(
        (&difference["kind"], &difference["processor_usd"], &difference["ledger_usd"]),
        (&json!("dispute"), &json!("-20.00"), &json!("-5.00")),
        "{report:#}"
    );
    assert!(differs.1.contains("the books differ"), "{}", differs.1);

    for (arguments, key, expected) in [
        (&[][..], None, "GOLLEM_ADMIN_KEY is not set"),
        (&[][..], Some(ann.api.key()), "403"),
        (&["--from", "2026-13-01"][..], Some(key.as_str()), "from must be a day"),
        (&["--from", "2026-11-02", "--to", "2026-11-01"][..], Some(key.as_str()), "from must not be after to"),
    ] {
        let (code, _, error) = tokio::task::block_in_place(|| reconcile(&bank, arguments, key));
        assert!(code != Some(0) && error.contains(expected), "{arguments:?}: {error}");
    }
    bank.venue.close().await;
}
