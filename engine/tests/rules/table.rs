//! The case files in `cases/`: given some commands, when others come, then exactly these events follow.
//!
//! ```text
//! case: a bid takes the cheapest ask first
//! given:
//!   fund buyer $1
//!   ask provider 100 @ 3 as A
//!   ask provider 100 @ 2 as B
//! when:
//!   bid buyer 50 @ 3 ioc as X
//! then:
//!   accepted X
//!   hold buyer 150
//!   trade X B 50 @ 2
//!   level ask 2 50 1
//!   escrow buyer 100
//!   release buyer 50
//!   closed X filled
//! ```
//!
//! Nothing under `given` may be refused. `then` lists every event of the `when` before it, in order, or says `nothing`;
//! after them come facts about the state (`balance buyer available $1-100 escrow 100`). A case may go on with further
//! `when` and `then`. The words of commands are in `story.rs`, those of events in `render.rs`, numbers in `words.rs`.

use crate::render::FACTS;
use crate::story::Story;
use crate::words::Line;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rules/cases")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Runs a file; returns what failed.
fn run_file(name: &str) -> Vec<String> {
    let text = read(&folder().join(format!("{name}.txt")));
    let header = text.lines().take_while(|line| !line.starts_with("case: "));
    assert!(header.clone().all(|line| line.is_empty() || line.starts_with('#')), "{name}.txt begins with a case");
    let mut failures = Vec::new();
    for (first, case) in cases(&text) {
        let outcome = std::panic::catch_unwind(|| run_case(name, first, case));
        if let Err(complaint) = outcome {
            let text = complaint.downcast_ref::<String>().cloned();
            let text = text.or_else(|| complaint.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            let title = case.lines().next().unwrap_or_default();
            failures.push(format!("{name}.txt:{first}: {title}\n{}", text.unwrap_or_default()));
        }
    }
    failures
}

/// The cases of a file, each with the number of its first line.
fn cases(text: &str) -> Vec<(usize, &str)> {
    let starts: Vec<usize> =
        text.match_indices("case: ").map(|(at, _)| at).filter(|at| *at == 0 || text[..*at].ends_with('\n')).collect();
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    let piece = |(start, end): (&usize, usize)| (text[..*start].lines().count() + 1, text[*start..end].trim_end());
    starts.iter().zip(ends).map(piece).collect()
}

fn run_case(file: &str, first: usize, case: &str) {
    let mut story = Story::default();
    let (mut section, mut events) = ("", Vec::new());
    let mut lines = (first..).zip(case.lines()).skip(1).filter(|(_, line)| {
        let line = line.trim_start();
        !line.is_empty() && !line.starts_with('#')
    });
    let mut seen: Vec<(usize, String)> = Vec::new();
    loop {
        let next = lines.next();
        let line = next.map(|(number, text)| Line::new(file, number, text));
        let (number, heading) = next.unwrap_or((0, "end"));
        if !heading.starts_with(' ') {
            match (section, heading) {
                ("" | "given:" | "then:", "given:" | "when:") | ("when:", "then:") | ("then:", "end") => {}
                (_, other) => panic!("{file}.txt: {other:?} may not follow {section:?}"),
            }
            if section == "then:" {
                assert!(!seen.is_empty(), "{file}.txt:{number}: what does not happen is called nothing");
                compare(file, first, &seen, &events);
                (seen, events) = (Vec::new(), Vec::new());
            }
            section = heading;
            if section == "end" {
                return;
            }
            continue;
        }
        let mut line = line.expect("a line");
        match section {
            "given:" => {
                let happened = story.perform(&mut line);
                if happened.iter().any(|event| event.starts_with("refused")) {
                    line.fail(&format!("{happened:?}"));
                }
            }
            "when:" => events.extend(story.perform(&mut line)),
            _ if line.peek() == Some("nothing") && events.is_empty() => {
                events.push("nothing".to_owned());
                seen.push((number, line.plain()));
            }
            _ if line.peek().is_some_and(|word| FACTS.contains(&word)) && seen.len() >= events.len() => {
                seen.push((number, line.plain()));
                events.push(story.fact(&mut line));
            }
            _ => seen.push((number, line.plain())),
        }
    }
}

/// Complains of the first difference.
fn compare(file: &str, first: usize, seen: &[(usize, String)], happened: &[String]) {
    let same = seen.iter().zip(happened).take_while(|((_, line), event)| line == *event).count();
    if same == seen.len() && same == happened.len() {
        return;
    }
    let line = seen.get(same).or(seen.last()).map_or(first, |(number, _)| *number);
    let marked = |(at, event): (usize, &String)| format!("{} {event}\n", if at == same { "->" } else { "  " });
    let actual: String = happened.iter().enumerate().map(marked).collect();
    let expected = seen.get(same).map_or("nothing more", |(_, line)| line);
    panic!("{file}.txt:{line}: expected {expected:?} but this happened:\n{actual}");
}

macro_rules! files {
    ($($name:ident)*) => {
        const FILES: &[&str] = &[$(stringify!($name)),*];
        $(
            #[test]
            fn $name() {
                let failures = run_file(stringify!($name));
                assert!(failures.is_empty(), "{} failed\n\n{}", failures.len(), failures.join("\n\n"));
            }
        )*
    };
}

files! {
    price_time preferences constraints single providers time_in_force min_quantity post_only market_orders self_trade replace
    cancel timers instrument_states price_band fees holds contracts rebates measured_truth breaker purchases disputes
    overage payouts key_limits guard_rails locks listings refusals
}

/// Names of all cases with their texts.
fn all_cases() -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for file in FILES {
        for (_, case) in cases(&read(&folder().join(format!("{file}.txt")))) {
            let title = case.lines().next().and_then(|line| line.strip_prefix("case: ")).expect("a case");
            assert!(all.insert(title.to_owned(), case.to_owned()).is_none(), "two cases are called {title:?}");
        }
    }
    all
}

#[test]
fn every_file_is_listed_and_every_case_has_a_name_of_its_own() {
    let found = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let mut names: Vec<String> = found.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    let mut listed = FILES.to_vec();
    listed.sort_unstable();
    assert_eq!(names, listed);
    assert!(all_cases().len() >= 120);
}

/// Refusals that no case can reach in reasonable time.
const UNREACHED: [(&str, &str); 1] = [("TooManyAccounts", "needs 4,000,000 accounts")];

fn reasons() -> Vec<&'static str> {
    let source = include_str!("../../src/refusal.rs");
    let (_, rest) = source.split_once("pub enum RejectReason {").expect("the enum");
    let (body, _) = rest.split_once("\n}").expect("its end");
    let variant = |line: &'static str| {
        let name =
            line.strip_prefix("    ").filter(|line| line.starts_with(|letter: char| letter.is_ascii_uppercase()));
        name.map(|name| name.trim_end_matches([' ', '{', ',']))
    };
    body.lines().filter_map(variant).collect()
}

#[test]
fn every_refusal_has_a_case_and_a_row_in_the_document() {
    let cases = all_cases();
    let rules = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/matching-rules.md"));
    let names = reasons();
    assert!(names.len() > 40, "{names:?}");
    for name in names {
        let shown = cases.values().any(|case| {
            case.lines().any(|line| {
                line.trim_start().strip_prefix("refused ").is_some_and(|rest| rest.split(' ').next() == Some(name))
            })
        });
        let excused = UNREACHED.iter().any(|(known, _)| *known == name);
        assert!(shown != excused, "{name}: a case, or an excuse");
        assert!(rules.lines().any(|line| line.starts_with(&format!("| `{name}` |"))), "{name} has no row");
    }
}

/// The document's examples are cases, word for word, and the cases it names exist.
#[test]
fn the_document_shows_cases_as_they_are() {
    let cases = all_cases();
    let rules = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/matching-rules.md"));
    let blocks: Vec<&str> = rules.split("```text\n").skip(1).filter_map(|rest| rest.split("\n```").next()).collect();
    assert!(blocks.len() >= 9, "an example for each section");
    for block in blocks {
        assert!(cases.values().any(|case| case == block), "no case reads\n{block}");
    }
    for rest in rules.split("*case: ").skip(1) {
        let name = rest.split('*').next().unwrap_or_default();
        assert!(cases.contains_key(name), "there is no case {name:?}");
    }
}
