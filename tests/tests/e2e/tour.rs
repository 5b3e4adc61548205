//! The README's tour works as printed: its shell blocks are run by bash, in order, and end with a sound journal.

use crate::support::tour;

const README: &str = include_str!("../../../README.md");

#[test]
fn the_tour_in_the_readme_works_as_printed() {
    let (_, rest) = README.split_once("## A tour in five minutes\n").expect("the section exists");
    let section = rest.split_once("\n## ").map_or(rest, |(section, _)| section);
    let Some(said) = tour::run(section, &["8080", "9101"]) else { return };
    tour::assert_said(
        &said,
        &[
            "\"status\":\"ok\"",
            "\"symbol\":\"llama-3.1-8b\"",
            "\"endpoint\":\"http://127.0.0.1:",
            "\"status\":\"open\"",
            "\"asks\":[{\"price\":\"0.00135000\",\"quantity\":1000000,\"orders\":1}]",
            "\"credits\":\"10000.00000000\"",
            "\"finish_reason\":\"length\"",
            "data: [DONE]",
            "\"escrow\":\"0.00000000\"",
            "\"kind\":\"delivery\"",
            "sound",
        ],
    );
    assert!(!said.contains("\"error\""), "{said}");
}
