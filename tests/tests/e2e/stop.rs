//! A polite stop: what runs is finished and settled, nothing new begins, and the process ends well.

use crate::streams::{Events, settled};
use crate::support::http::Api;
use crate::support::market::{CHAT_PROMPT_TOKENS, ask, list_model, open_buyer, open_provider, units};
use crate::support::process::{ADMIN_KEY, Gollem, Process, verify};
use crate::support::venue::MODEL;
use crate::support::{endpoint, eventually, slowly, start_mock};
use gollem_gateway::ApiKey;
use serde_json::json;
use tokio::net::TcpStream;

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_in_mid_stream_finishes_the_stream_and_settles_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mock = start_mock(slowly()).await;
    let mut gollem = Gollem::serve(&data).await;
    list_model(&gollem.admin, MODEL, json!({})).await;
    let provider = open_provider(&gollem.admin, "provider", &endpoint(&mock)).await;
    let buyer = open_buyer(&gollem.admin, "buyer", 1_000).await;
    provider.place(&ask(MODEL, 1_000, 100_000, json!({}))).await;

    let mut events = Events::open(&buyer, json!({ "max_tokens": 150 })).await;
    events.read_tokens(5).await;
    gollem.process.terminate();
    let address = gollem.base().strip_prefix("http://").unwrap().to_owned();
    eventually("no new connection is taken", async || TcpStream::connect(&address).await.is_err().then_some(())).await;
    let rest = events.all().await;
    assert_eq!(rest.last().map(String::as_str), Some("[DONE]"), "the stream went on to its end");
    let status = gollem.process.ended().await;
    assert!(status.success(), "{status}");
    let audit = verify(&data);
    assert_eq!((&audit["clean"], &audit["torn_bytes"]), (&json!(true), &json!(0)));

    let gollem = Gollem::serve(&data).await;
    assert_eq!(settled(&buyer.at(gollem.base())).await, units(CHAT_PROMPT_TOKENS, 150) * 1_000);
    gollem.process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_exchange_shows_its_key_once_and_later_starts_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let log = folder.path().join("log");
    let arguments = ["serve", "--data", data.to_str().unwrap(), "--listen", "127.0.0.1:0"];
    let mut first = Process::start("gollem", &arguments, &[], &log);
    let key = first.line("admin key (shown once, store it now): ").await;
    assert!(ApiKey::parse(&key).is_some(), "it has the form of a key");
    let base = first.line("listening on ").await;
    Api::new(&base, Some(&key)).get("/v1/admin/state").await.ok();
    first.stop().await;

    // The first line of a later start is its address: the key is not shown again, and still works.
    let mut second = Process::start("gollem", &arguments, &[], &log);
    let base = second.first_line("listening on ").await;
    Api::new(&base, Some(&key)).get("/v1/admin/state").await.ok();
    let stranger = Api::new(&base, Some(ADMIN_KEY)).get("/v1/admin/state").await;
    assert_eq!(stranger.status, 401);
    second.stop().await;
    assert!(!std::fs::read_to_string(&log).unwrap().contains(&key), "the log does not know the key");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_on_the_same_folder_is_refused_and_the_first_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let log = folder.path().join("second.log");
    let gollem = Gollem::serve(&data).await;
    let arguments = ["serve", "--data", data.to_str().unwrap(), "--listen", "127.0.0.1:0"];
    let mut second = Process::start("gollem", &arguments, &[("GOLLEM_ADMIN_KEY", ADMIN_KEY)], &log);
    let status = second.ended().await;
    assert_eq!(status.code(), Some(1), "{}", std::fs::read_to_string(&log).unwrap());
    list_model(&gollem.admin, MODEL, json!({})).await;
    gollem.process.stop().await;
    verify(&data);
}

#[test]
fn an_operator_s_key_of_another_form_is_refused_before_anything_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--data", data.to_str().unwrap()];
    let mut command = std::process::Command::new(crate::support::process::binary("gollem"));
    let output = command.args(arguments).env("GOLLEM_ADMIN_KEY", "sk-gollem-guessed").output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("GOLLEM_ADMIN_KEY") && !told.contains("guessed"), "{told}");
    assert!(output.stdout.is_empty() && !data.join("journal").exists());
}
