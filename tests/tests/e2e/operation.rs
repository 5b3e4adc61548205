//! Running it: settings from a file, the log, request ids, health, and what the metrics say of the market.

use crate::support::http::Api;
use crate::support::market::{open_buyer, open_provider};
use crate::support::process::{ADMIN_KEY, Gollem, Process, binary};
use crate::support::{DEADLINE, eventually};
use bytes::Bytes;
use hyper::Method;
use serde_json::{Value, json};
use std::fs;
use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;

/// Starts `gollem serve` with these arguments and waits until it serves; the address is the answer.
async fn serve(dir: &Path, arguments: &[&str], env: &[(&str, &str)]) -> (Process, String) {
    let data = dir.join("data");
    let mut all = vec!["serve", "--listen", "127.0.0.1:0", "--tree-key", "off", "--data", data.to_str().unwrap()];
    all.extend(arguments);
    let mut process = Process::start("gollem", &all, env, &dir.join("stderr.log"));
    let address = process.line("listening on ").await;
    (process, address)
}

/// Lines of a log in JSON.
fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_come_from_a_file_and_debug_mode_logs_each_request_with_its_id_and_no_secret() {
    let dir = tempfile::tempdir().unwrap();
    let (file, log, key) = (dir.path().join("gollem.toml"), dir.path().join("log.json"), dir.path().join("admin-key"));
    fs::write(&key, format!("{ADMIN_KEY}\n")).unwrap();
    let settings = format!("dev = true\ndebug = true\nlog-format = \"json\"\nlog-to = \"file:{}\"\n", log.display());
    fs::write(&file, settings).unwrap();
    // What is empty counts as not set, so it hides neither a file's secret nor the settings file.
    let empty = ["GOLLEM_ADMIN_KEY", "GOLLEM_DEV", "GOLLEM_LOG", "GOLLEM_LOG_FORMAT"].map(|name| (name, ""));
    let env = [&[("GOLLEM_ADMIN_KEY_FILE", key.to_str().unwrap())], &empty[..]].concat();
    let (process, address) = serve(dir.path(), &["--config", file.to_str().unwrap()], &env).await;
    let admin = Api::new(&address, Some(ADMIN_KEY));

    let reply = admin.send(Method::GET, "/v1/admin/state", &[("x-request-id", "my-request.1")], Bytes::new()).await;
    assert_eq!(reply.status, 200, "the key of the file: {}", reply.body);
    assert_eq!(reply.headers["x-request-id"], "my-request.1");
    let own = admin.get("/v1/instruments").await.headers["x-request-id"].to_str().unwrap().to_owned();
    assert!(own.starts_with("req_") && own.len() == 22, "{own}");
    open_buyer(&admin, "alice", 10).await; // Only possible with `dev`, which the file sets.

    let request =
        eventually("the request is logged", async || lines(&log).into_iter().find(|line| line["id"] == "my-request.1"))
            .await;
    let told = [&request["method"], &request["route"], &request["status"], &request["level"]];
    assert_eq!(told, [&json!("GET"), &json!("/v1/admin/state"), &json!(200), &json!("DEBUG")]);
    process.stop().await;
    let text = fs::read_to_string(&log).unwrap();
    assert!(text.contains("\"stopped\""), "the last line is written before the end");
    assert!(!text.contains(&ADMIN_KEY[24..]), "no secret is logged");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_gets_the_log_as_syslog() {
    let dir = tempfile::tempdir().unwrap();
    let collector = UdpSocket::bind("127.0.0.1:0").unwrap();
    collector.set_read_timeout(Some(DEADLINE)).unwrap();
    let to = format!("syslog+udp://{}", collector.local_addr().unwrap());
    let (process, _) = serve(dir.path(), &["--log-to", &to], &[]).await;
    let mut buffer = [0; 16 * 1024];
    let read = collector.recv(&mut buffer).unwrap();
    let message = String::from_utf8_lossy(&buffer[..read]).into_owned();
    assert!(message.starts_with("<30>1 ") && message.contains(" gollem "), "daemon.info: {message}");
    assert!(!message.ends_with('\n') && !message.contains('\u{1b}'), "{message:?}");
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_that_is_wrong_ends_the_start_and_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gollem.toml");
    let gollem = binary("gollem");
    let said = |text: &str, environment: &[(&str, &str)]| {
        fs::write(&file, text).unwrap();
        let mut command = Command::new(&gollem);
        let output = command.args(["serve", "--config"]).arg(&file).envs(environment.iter().copied()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(said("admin-key = \"x\"", &[]).contains("there is no setting `admin-key`"));
    assert!(said("snapshot-mib = 0", &[]).contains("--snapshot-mib"));
    assert!(said("log-to = \"nowhere\"", &[]).contains("syslog+udp://HOST:PORT"));
    assert!(said("", &[("GOLLEM_SEGMENT_MIB", "1")]).contains("--segment-mib"));
    let folder = dir.path().to_str().unwrap();
    assert!(said(&format!("log-to = \"file:{folder}\""), &[]).contains("--log-to: cannot open"));
}

#[tokio::test(flavor = "multi_thread")]
async fn health_says_what_is_the_matter_and_metrics_show_the_market() {
    let dir = tempfile::tempdir().unwrap();
    let gollem = Gollem::serve(&dir.path().join("data")).await;
    let public = gollem.admin.with_key(None);
    let live = public.get("/health/live").await;
    assert_eq!((live.status, &live.body["status"]), (200, &json!("alive")));
    let ready = eventually("it is ready", async || {
        let reply = public.get("/health/ready").await;
        (reply.status == 200).then_some(reply)
    })
    .await;
    assert_eq!(ready.body, json!({ "status": "ready", "checks": { "pipeline": "ok", "views": "ok", "view_lag": 0 } }));

    let market = json!({ "symbol": "m", "reference_price": "0.002" });
    gollem.admin.post("/v1/instruments", &market).await.ok();
    let provider = open_provider(&gollem.admin, "p", "http://127.0.0.1:9/v1").await;
    let ask = json!({ "instrument": "m", "side": "ask", "price": "0.00135", "quantity": 700, "latency_ms": 1, "throughput_tps": 1 });
    provider.api.post("/v1/orders", &ask).await.ok();
    open_buyer(&gollem.admin, "b", 10).await;
    public.get("/v1/nowhere").await;
    let shown = eventually("the metrics show the market", async || {
        let text = String::from_utf8(public.get("/metrics").await.bytes.to_vec()).unwrap();
        text.contains("gollem_book_units{instrument=\"m\",side=\"ask\"} 700\n").then_some(text)
    })
    .await;
    for line in [
        "gollem_book_levels{instrument=\"m\",side=\"ask\"} 1\n",
        "gollem_book_levels{instrument=\"m\",side=\"bid\"} 0\n",
        "gollem_book_best_price_credits{instrument=\"m\",side=\"ask\"} 0.00135000\n",
        "gollem_credits{kind=\"available\"} 10000.00000000\n",
        "gollem_http_requests_total{method=\"POST\",route=\"/v1/orders\",status=\"2xx\"} 1\n",
        "gollem_http_seconds_count{method=\"POST\",route=\"/v1/orders\"} 1\n",
        "gollem_http_unknown_routes_total 1\n",
    ] {
        assert!(shown.contains(line), "{line} in\n{shown}");
    }
    // Every family is described once, as its readers demand.
    let mut families: Vec<&str> = shown.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    families.sort_unstable();
    let all = families.len();
    families.dedup();
    assert_eq!(families.len(), all);
}
