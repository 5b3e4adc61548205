//! What the mock answers besides plain words: raw completions, several choices, tool calls, JSON, log probabilities.
//! Each is asked for plain and streamed, and the two must say the same.

use gollem_provider::mock::{Mock, Outcome};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::support::{RawClient, at_once, chat, read_events, start_mock};

async fn plain(mock: &Mock, path: &str, body: &Value) -> Value {
    let response = RawClient::new().post_to(path, mock.address(), &[], body.to_string()).await.unwrap();
    serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
}

/// The chunks of a streamed answer, without the usage and `[DONE]`; the usage.
async fn streamed(mock: &Mock, path: &str, body: &Value) -> (Vec<Value>, Value) {
    let mut body = body.clone();
    body["stream"] = json!(true);
    body["stream_options"] = json!({"include_usage": true});
    let response = RawClient::new().post_to(path, mock.address(), &[], body.to_string()).await.unwrap();
    let (_, mut events, _) = read_events(response).await;
    assert_eq!(events.pop().as_deref(), Some("[DONE]"));
    let mut chunks: Vec<Value> = events.iter().map(|event| serde_json::from_str(event).unwrap()).collect();
    let usage = chunks.pop().unwrap();
    assert_eq!(usage["choices"], json!([]));
    (chunks, usage["usage"].clone())
}

/// What the chunks of a choice hold at `pointer`, put together.
fn joined(chunks: &[Value], choice: u64, pointer: &str) -> String {
    let of_choice = chunks.iter().map(|chunk| &chunk["choices"][0]).filter(|part| part["index"] == choice);
    of_choice.filter_map(|part| part.pointer(pointer)?.as_str()).collect()
}

const CHAT: &str = "/v1/chat/completions";

#[tokio::test]
async fn raw_completion_has_text_and_its_stream_says_the_same() {
    let mock = start_mock(at_once()).await;
    let body = json!({"model": "gpt4", "prompt": "once upon a time", "max_tokens": 20});
    let answer = plain(&mock, "/v1/completions", &body).await;
    assert_eq!(answer["object"], "text_completion");
    assert!(answer["id"].as_str().unwrap().starts_with("cmpl-"));
    let text = answer["choices"][0]["text"].as_str().unwrap();
    assert_eq!(text.split_whitespace().count(), 20);
    assert_eq!(answer["usage"]["total_tokens"], 24);

    let (chunks, usage) = streamed(&mock, "/v1/completions", &body).await;
    assert!(chunks.iter().all(|chunk| chunk["object"] == "text_completion"));
    assert_eq!((joined(&chunks, 0, "/text").as_str(), &usage), (text, &answer["usage"]));
    assert_eq!(chunks.len(), 21, "20 tokens and the reason");
    assert_eq!(chunks[20]["choices"][0]["finish_reason"], "length");
    assert_eq!(mock.stats().completion_tokens, 40);
}

#[tokio::test]
async fn every_prompt_has_its_n_choices_and_all_their_tokens_count() {
    let mock = start_mock(at_once()).await;
    let body = json!({"model": "gpt4", "prompt": ["once upon", "a time"], "n": 3, "max_tokens": 5});
    let answer = plain(&mock, "/v1/completions", &body).await;
    let choices = answer["choices"].as_array().unwrap();
    assert_eq!(choices.len(), 6);
    assert_eq!(answer["usage"]["completion_tokens"], 30);
    assert_ne!(choices[0]["text"], choices[5]["text"]);

    let (chunks, usage) = streamed(&mock, "/v1/completions", &body).await;
    assert_eq!(usage, answer["usage"]);
    for choice in 0..6 {
        assert_eq!(joined(&chunks, choice, "/text"), answer["choices"][choice as usize]["text"]);
        assert_eq!(joined(&chunks, choice, "/finish_reason"), "length");
    }
    assert_eq!(mock.stats().of(Outcome::Completed).completion_tokens, 60);
}

#[tokio::test]
async fn demanded_tool_is_called_with_arguments_that_are_json() {
    let mock = start_mock(at_once()).await;
    let tools = json!([{"type": "function", "function": {"name": "find \"it\"", "parameters": {}}}]);
    let body = chat(json!({"tools": tools, "tool_choice": "required", "max_tokens": 7}));
    let answer = plain(&mock, CHAT, &body).await;
    let choice = &answer["choices"][0];
    assert_eq!((&choice["finish_reason"], &choice["message"]["content"]), (&json!("tool_calls"), &Value::Null));
    let call = &choice["message"]["tool_calls"][0];
    assert_eq!((&call["type"], &call["function"]["name"]), (&json!("function"), &json!("find \"it\"")));
    let arguments = call["function"]["arguments"].as_str().unwrap();
    let parsed: Value = serde_json::from_str(arguments).unwrap();
    assert_eq!(parsed["text"].as_str().unwrap().split_whitespace().count(), 7);

    let (chunks, _) = streamed(&mock, CHAT, &body).await;
    let first = &chunks[0]["choices"][0]["delta"]["tool_calls"][0];
    assert_eq!((&first["index"], &first["function"]["name"]), (&json!(0), &json!("find \"it\"")));
    assert!(first["id"].as_str().unwrap().starts_with("call_"));
    assert_eq!(joined(&chunks, 0, "/delta/tool_calls/0/function/arguments"), arguments);
    assert_eq!(joined(&chunks, 0, "/finish_reason"), "tool_calls");
}

#[tokio::test]
async fn json_mode_answers_a_json_object() {
    let mock = start_mock(at_once()).await;
    let body = chat(json!({"response_format": {"type": "json_object"}, "max_tokens": 7}));
    let answer = plain(&mock, CHAT, &body).await;
    let content = answer["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(serde_json::from_str::<Value>(content).unwrap().is_object(), "{content}");
    assert_eq!(joined(&streamed(&mock, CHAT, &body).await.0, 0, "/delta/content"), content);
}

#[tokio::test]
async fn log_probabilities_name_every_token() {
    let mock = start_mock(at_once()).await;
    let body = chat(json!({"logprobs": true, "max_tokens": 7}));
    let answer = plain(&mock, CHAT, &body).await;
    let choice = &answer["choices"][0];
    let entries = choice["logprobs"]["content"].as_array().unwrap();
    let tokens: String = entries.iter().map(|entry| entry["token"].as_str().unwrap()).collect();
    assert_eq!(tokens, choice["message"]["content"]);
    for entry in entries {
        assert!(entry["logprob"].as_f64().unwrap() < 0.0);
        assert_eq!(entry["bytes"], json!(entry["token"].as_str().unwrap().as_bytes()));
    }
    let (chunks, _) = streamed(&mock, CHAT, &body).await;
    assert_eq!(joined(&chunks, 0, "/logprobs/content/0/token"), tokens);
}
