//! What an operator and an auditor see of the journal over HTTP: figures for a monitor, signed tree heads.

use crate::support::eventually;
use crate::support::market::list_model;
use crate::support::process::{Gollem, Process};
use gollem_journal::{HeadSigner, ScanOptions, Tree, TreeHead};
use serde_json::json;
use std::convert::Infallible;

const SERVE: [&str; 6] = ["serve", "--listen", "127.0.0.1:0", "--pin", "off", "--data"];

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_head_is_served_that_covers_the_journal_and_verifies_with_the_key_kept_outside() {
    let folder = tempfile::tempdir().unwrap();
    let (data, key) = (folder.path().join("data"), folder.path().join("keys/tree-head.key"));
    let extra = [data.to_str().unwrap(), "--tree-key", key.to_str().unwrap(), "--tree-interval", "1"];
    let gollem = Gollem::start(&data, &[SERVE.as_slice(), &extra].concat()).await;
    list_model(&gollem.admin, "m", json!({})).await;
    let note = eventually("a head is signed", async || {
        let reply = gollem.admin.with_key(None).get("/v1/journal/head").await;
        (reply.status == 200).then(|| String::from_utf8(reply.bytes.to_vec()).unwrap())
    })
    .await;
    gollem.process.stop().await;
    let signer = HeadSigner::load_or_create(&key, "gollem/journal").unwrap();
    let head = TreeHead::verify(&note, signer.public_key()).unwrap();
    let mut tree = Tree::new();
    let until = ScanOptions { until: Some(head.size), ..ScanOptions::default() };
    let scanned = gollem_journal::scan(&data.join("journal"), until, &mut |record| {
        tree.push_record(record.seq, record.time_ns, record.payload);
        Ok::<(), Infallible>(())
    });
    scanned.unwrap();
    assert!(head.size > 0);
    assert_eq!((tree.size(), tree.root()), (head.size, head.root));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_inside_the_data_folder_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let (data, log) = (folder.path().join("data"), folder.path().join("log"));
    let key = data.join("tree-head.key");
    let extra = [data.to_str().unwrap(), "--tree-key", key.to_str().unwrap()];
    let status = Process::start("gollem", &[SERVE.as_slice(), &extra].concat(), &[], &log).ended().await;
    assert!(!status.success());
    let said = std::fs::read_to_string(&log).unwrap();
    assert!(said.contains("inside the data folder") && said.contains("--tree-key"), "{said}");
    assert!(!key.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_monitor_reads_where_commands_spend_their_time() {
    let folder = tempfile::tempdir().unwrap();
    let gollem = Gollem::serve(&folder.path().join("data")).await;
    list_model(&gollem.admin, "m", json!({})).await;
    let reply = gollem.admin.with_key(None).get("/metrics").await;
    let text = String::from_utf8(reply.bytes.to_vec()).unwrap();
    gollem.process.stop().await;
    assert_eq!(reply.status, 200);
    let value = |name: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} is missing in {text}")).parse().unwrap()
    };
    assert!((value("gollem_up") - 1.0).abs() < f64::EPSILON);
    assert!(value("gollem_inputs_total") >= 1.0 && value("gollem_journal_bytes_total") > 64.0);
    for stage in ["queue", "encode", "apply", "sync", "egress", "total"] {
        let count = value(&format!("gollem_pipeline_seconds_count{{stage=\"{stage}\"}}"));
        let p99 = value(&format!("gollem_pipeline_seconds{{stage=\"{stage}\",quantile=\"0.99\"}}"));
        assert!(count >= 1.0 && p99 > 0.0 && p99 < 60.0, "{stage}: {count}, {p99}");
    }
}
