//! Tokens of a real model: llama.cpp's own server, the agent in front of it, the exchange, a buyer that streams.
//!
//! llama.cpp comes as the PyPI wheel `xllamacpp`, which holds its server as a library: 34 MB, no compiler, nothing else.
//! (The wheel of `llama-cpp-python` is compiled where it is installed, which takes CI minutes; npm's `node-llama-cpp` holds
//! llama.cpp but not its server; candle would be compiled with the tests and speaks no HTTP.) No registry carries a
//! small model, so `tests/clients/tiny_llama.py` writes one of 27,000 weights.

use crate::support::market::{list_model, open_account, open_buyer};
use crate::support::process::{Gollem, Process};
use crate::support::{eventually, skipped};
use http_body_util::BodyExt;
use hyper::Method;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const MODEL: &str = "tiny";
const TOKENS: usize = 40;

/// llama.cpp's server; it ends when its standard input closes.
struct ModelServer(Child);

impl ModelServer {
    /// Starts it; returns its address as well.
    async fn start(python: &str, folder: &Path) -> (ModelServer, String) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/tiny_llama.py");
        let mut command = Command::new(python);
        command.arg(script).arg(folder.join("tiny.gguf")).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = tokio::task::spawn_blocking(move || lines.next());
        let line = first.await.unwrap().expect("the model server serves").unwrap();
        (ModelServer(child), line.strip_prefix("listening on ").unwrap().to_owned())
    }
}

impl Drop for ModelServer {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// The text of a streamed answer, its usage, and in how many pieces it came.
async fn stream(api: &crate::support::http::Api, path: &str, body: &Value) -> (String, Value, usize) {
    let response = api.open(Method::POST, path, &[], body.to_string().into()).await.unwrap();
    assert_eq!(response.status(), 200);
    let mut body = response.into_body();
    let (mut text, mut pieces) = (String::new(), 0);
    while let Some(frame) = body.frame().await {
        text.push_str(std::str::from_utf8(&frame.unwrap().into_data().unwrap()).unwrap());
        pieces += 1;
    }
    let mut events: Vec<&str> =
        text.split_terminator("\n\n").filter_map(|event| event.strip_prefix("data: ")).collect();
    assert_eq!(events.pop(), Some("[DONE]"), "{text}");
    let chunks: Vec<Value> = events.iter().map(|event| serde_json::from_str(event).unwrap()).collect();
    let said = chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect();
    (said, chunks.last().unwrap()["usage"].clone(), pieces)
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_a_real_model_stream_through_the_agent_and_the_exchange() {
    let python = std::env::var("GOLLEM_TEST_PYTHON").unwrap_or_else(|_| "python3".into());
    let has_llama = Command::new(&python).args(["-c", "import xllamacpp"]).output();
    if !has_llama.is_ok_and(|found| found.status.success()) {
        return skipped(&format!(
            "{python} lacks the package xllamacpp (pip install xllamacpp, or set GOLLEM_TEST_PYTHON)"
        ));
    }
    let folder = tempfile::tempdir().unwrap();
    let (model_server, address) = ModelServer::start(&python, folder.path()).await;
    let gollem = Gollem::serve(&folder.path().join("data")).await;
    list_model(&gollem.admin, MODEL, json!({})).await;
    let buyer = open_buyer(&gollem.admin, "buyer", 10).await;
    let provider = open_account(&gollem.admin, "provider", &["read", "provide"]).await;
    let endpoint = format!("{address}/v1");
    let arguments = [
        ["agent", "--gateway", gollem.base(), "--endpoint", &endpoint, "--model", MODEL, "--price", "1.35"].as_slice(),
        &["--latency-ms", "2000", "--throughput-tps", "10", "--capacity", "100000", "--refresh-s", "1"],
        &["--listen", "127.0.0.1:0", "--max-concurrent", "1"],
    ]
    .concat();
    let environment = [("GOLLEM_API_KEY", provider.api.key())];
    let mut agent = Process::start("gollem-provider", &arguments, &environment, &folder.path().join("agent.log"));
    let agent_api = gollem.admin.at(&agent.line("listening on ").await);
    eventually("the agent quotes", async || {
        let status = agent_api.get("/status").await;
        (status.body["state"] == "quoting").then_some(())
    })
    .await;

    let body = json!({
        "model": MODEL, "messages": [{ "role": "user", "content": "once upon a time" }], "max_tokens": TOKENS,
        "stream": true, "stream_options": { "include_usage": true }, "temperature": 5.0, "seed": 7,
    });
    let (said, usage, pieces) = stream(&buyer.api, "/v1/chat/completions", &body).await;
    assert_eq!(said.len(), TOKENS, "a character a token: {said:?}");
    assert!(said.bytes().all(|byte| (32..127).contains(&byte)), "{said:?}");
    assert!(said.bytes().collect::<std::collections::BTreeSet<_>>().len() > 5, "it is hot: {said:?}");
    assert_eq!(usage["completion_tokens"], TOKENS);
    assert!(pieces > 5, "it streams: {pieces} pieces");

    // The model server says the same to who asks it directly: parameters that the exchange does not know pass through.
    let direct = gollem.admin.at(&address).with_key(None);
    assert_eq!(stream(&direct, "/v1/chat/completions", &body).await.0, said);

    let status = eventually("the agent has counted", async || {
        let status = agent_api.get("/status").await.ok();
        (status["requests"]["completed"] == 1).then_some(status)
    })
    .await;
    assert_eq!(status["tokens"], TOKENS);
    assert!(status["latency"]["first_token_ms"]["p50"].is_u64(), "{status}");
    let earned = eventually("the provider has earned", async || {
        let balance = provider.balance().await;
        (balance.earned > 0).then_some(balance.earned)
    })
    .await;
    let prompt_tokens = usage["prompt_tokens"].as_i64().unwrap();
    let cost = (prompt_tokens + 4 * i64::try_from(TOKENS).unwrap()) * 135_000;
    assert_eq!(earned, cost - cost / 100, "the model server's own count of {prompt_tokens} tokens is paid for");
    agent.stop().await;
    gollem.process.stop().await;
    drop(model_server);
}
