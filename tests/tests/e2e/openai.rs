//! OpenAI's own Python client against the exchange: no setting but the base address and the key.
//!
//! Needs the package `openai` in the Python that `GOLLEM_TEST_PYTHON` names, or in `python3`; says so where it is
//! missing.

use crate::support::market::{chat, list_model, open_account};
use crate::support::venue::{MODEL, Venue};
use crate::support::{at_once, endpoint, skipped, start_mock};
use serde_json::json;
use std::process::Command;

const SCRIPT: &str = r#"
import os
import openai
from openai import OpenAI

base, model = os.environ["BASE"], os.environ["MODEL"]
messages = [{"role": "user", "content": "count these five words now"}]
client = OpenAI(base_url=base, api_key=os.environ["KEY"], max_retries=0)

plain = client.chat.completions.create(model=model, messages=messages, max_tokens=10)
assert plain.choices[0].finish_reason == "length", plain
assert len(plain.choices[0].message.content.split()) == 10, plain
assert (plain.usage.prompt_tokens, plain.usage.completion_tokens) == (5, 10), plain
assert plain.usage.cost == os.environ["COST"], plain.usage

stream = client.chat.completions.create(
    model=model, messages=messages, max_tokens=10, stream=True, stream_options={"include_usage": True})
chunks = list(stream)
text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
assert text == plain.choices[0].message.content, text
assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens == 10, chunks[-1]
assert chunks[-1].usage.cost == os.environ["COST"], chunks[-1]

bare = list(client.chat.completions.create(model=model, messages=messages, max_tokens=3, stream=True))
assert all(c.choices and c.usage is None for c in bare), bare

raw = client.chat.completions.with_raw_response.create(model=model, messages=messages, max_tokens=10)
assert raw.headers["x-gollem-cost"] == os.environ["COST"], raw.headers

def refused(kind, call, status, code, param=None):
    try:
        call()
    except kind as error:
        assert (error.status_code, error.code, error.param) == (status, code, param), error
        assert error.message, error
    else:
        raise AssertionError(f"{status} was expected")

def create(client, **change):
    return lambda: client.chat.completions.create(**{"model": model, "messages": messages, "max_tokens": 10, **change})

refused(openai.AuthenticationError, create(client.with_options(api_key="sk-wrong")), 401, "invalid_api_key")
refused(openai.NotFoundError, create(client, model="gpt-99"), 404, "model_not_found", "model")
refused(openai.BadRequestError, create(client, max_tokens=0), 400, "invalid_value", "max_tokens")
refused(openai.BadRequestError, create(client, messages=[]), 400, "invalid_value", "messages")
poor = client.with_options(api_key=os.environ["POOR_KEY"])
refused(openai.APIStatusError, create(poor), 402, "insufficient_credits")
refused(openai.APIStatusError, create(poor, stream=True), 402, "insufficient_credits")
dear = {"extra_headers": {"x-max-price": "0.00000000001"}}
refused(openai.BadRequestError, create(client, **dear), 400, "invalid_value", "x-max-price")
dear = {"extra_headers": {"x-max-price": "0.0000000001"}}
refused(openai.InternalServerError, create(client, **dear), 503, "no_ask_at_price")
print("as expected")
"#;

#[tokio::test(flavor = "multi_thread")]
async fn openai_s_own_client_needs_only_another_base_address() {
    let python = std::env::var("GOLLEM_TEST_PYTHON").unwrap_or_else(|_| "python3".into());
    let has_openai = Command::new(&python).args(["-c", "import openai"]).output();
    if !has_openai.is_ok_and(|found| found.status.success()) {
        return skipped(&format!("{python} lacks the package openai (pip install openai, or set GOLLEM_TEST_PYTHON)"));
    }
    let mock = start_mock(at_once()).await;
    let (venue, buyer, _, _) = Venue::trading(&endpoint(&mock), 135_000).await;
    let poor = open_account(&venue.admin, "poor", &["trade"]).await;
    list_model(&venue.admin, "unsold", json!({})).await;
    let cost = buyer.chat(&chat(MODEL, json!({}))).await.ok()["usage"]["cost"].clone();
    let mut command = Command::new(&python);
    command.args(["-c", SCRIPT]).env("BASE", format!("{}/v1", venue.admin.base())).env("MODEL", MODEL);
    command.env("KEY", buyer.api.key()).env("POOR_KEY", poor.api.key()).env("COST", cost.as_str().unwrap());
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && output.stdout == b"as expected\n", "{stderr}");
    venue.close().await;
}
