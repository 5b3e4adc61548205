//! `docs/api.md` works as printed: its shell blocks are run by bash, in order, and its table of errors names every code.

use crate::support::tour;
use std::collections::BTreeSet;
use std::path::Path;

const TOUR: &str = include_str!("../../../docs/api.md");

#[test]
fn every_command_of_the_api_s_tour_works_as_printed() {
    let Some(said) = tour::run(TOUR, &["8080"]) else { return };
    tour::assert_said(
        &said,
        &[
            "\"liquidity\":\"taker\"",
            "\"price\":\"0.00110000\",\"quantity\":800",
            "\"reason\":\"canceled_by_owner\"",
            "{\"status\":404,\"error\":{",
            "{\"cancelled\":2,",
            "\"client_order_id\":\"5f1c7d\"",
            "\"chosen\":\"ord_",
            "{\"object\":\"list\",\"data\":[{\"id\":\"llama-3.1-8b\"",
            "{\"preference\":\"price\",\"input_tokens\":300,\"output_tokens\":150,\"models\":[{\"model\":\"llama-3.1-8b\"",
            "\"after_ms\":null,\"at\":null",
            "\"next_before\":\"",
            "\"state\":\"cancel_only\"",
            "\"reference_price\":\"0.00210000\"",
            "\"overage_cap\":\"100.00000000\"",
            "\"models\":[{\"model\":\"llama-3.1-8b\"",
            "{\"openapi\":\"3.1",
        ],
    );
    let orders = said.matches("\"client_order_id\":\"5f1c7d\"").count();
    assert_eq!(orders, 2, "the second attempt got the first answer");
}

/// Words in the gateway's sources that stand where an error's code does.
fn codes(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            codes(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
            for lead in
                ["ApiError::new(", "ApiError::conflict(", "ApiError::quota(", "ApiError::unavailable(", "not_found("]
            {
                for call in text.split(lead).skip(1) {
                    let call: String = call.chars().take_while(|letter| *letter != ';').take(160).collect();
                    let words = call.split('"').skip(1).step_by(2).filter(|word| is_code(word)).map(str::to_owned);
                    // Class and field come before the code; the message after it is no single word.
                    found.extend(words.filter(|word| {
                        !["invalid_request_error", "rate_limit_error", "server_error"].contains(&word.as_str())
                    }));
                }
            }
        }
    }
}

fn is_code(word: &str) -> bool {
    word.contains('_') && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

#[test]
fn the_table_of_errors_names_every_code() {
    let mut found = BTreeSet::new();
    codes(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../gateway/src"), &mut found);
    assert!(found.len() > 30, "{found:?}");
    let (_, table) = TOUR.split_once("## Errors").unwrap();
    let no_code = ["insufficient_quota", "idempotency_error", "amount_usd", "client_order_id"];
    let missing: Vec<&String> = found
        .iter()
        .filter(|code| !no_code.contains(&code.as_str()) && !table.contains(&format!("`{code}`")))
        .collect();
    assert!(missing.is_empty(), "docs/api.md does not name {missing:?}");
}
