//! The JSON Schema files are those of the types, and what is published validates against them.

use super::broker::Contents;
use gollem_projections::kafka::schemas;
use serde_json::Value;
use std::path::{Path, PathBuf};

fn path(topic: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../docs/schemas/{topic}.json"))
}

#[test]
fn the_schema_files_are_those_of_the_types() {
    for (topic, schema) in schemas() {
        let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        if std::env::var_os("GOLLEM_WRITE_SCHEMAS").is_some() {
            std::fs::write(path(topic), &text).unwrap();
        }
        let file = std::fs::read_to_string(path(topic)).unwrap_or_default();
        assert_eq!(file, text, "{topic}: run the test with GOLLEM_WRITE_SCHEMAS=1 if that is meant");
    }
}

/// Validates every record.
pub(crate) fn check(contents: &Contents) {
    for (topic, _) in schemas() {
        let schema: Value = serde_json::from_str(&std::fs::read_to_string(path(topic)).unwrap()).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let records = contents.iter().filter(|((name, _), _)| name == topic).flat_map(|(_, records)| records);
        for record in records {
            if let Some(error) = validator.iter_errors(&record.value).next() {
                panic!("{topic}: {error}: {}", record.value);
            }
            let mut spoilt = record.value.clone();
            spoilt["at_ns"] = "now".into();
            assert!(!validator.is_valid(&spoilt), "{topic}: the schema takes anything");
        }
    }
}
