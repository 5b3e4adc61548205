//! The packages that our users have, unmodified, against the real binary: no setting but the address and the key. What they
//! ask, and what they must get, is in `tests/clients/`.
//!
//! Needs the packages `openai` and `anthropic` in the Python that `GOLLEM_TEST_PYTHON` names, or in `python3`, and Node with
//! the package `openai` in `target/test-clients/node`; says so where one is missing.

use crate::support::market::{ask, list_model, open_account, open_buyer, open_provider};
use crate::support::process::Gollem;
use crate::support::venue::MODEL;
use crate::support::{at_once, endpoint, skipped, start_mock};
use gollem_provider::mock::{Mock, MockOptions};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

/// An exchange with models that are served well, badly, and not at all.
struct Scene {
    gollem: Gollem,
    /// What a suite is told of it.
    setup: Value,
    _mocks: Vec<Mock>,
    _folder: TempDir,
}

impl Scene {
    async fn open() -> Scene {
        let folder = tempfile::tempdir().unwrap();
        let gollem = Gollem::serve(&folder.path().join("data")).await;
        let admin = &gollem.admin;
        let failing = MockOptions { failure_rate_ppm: 1_000_000, ..at_once() };
        let dying = MockOptions { die_rate_ppm: 1_000_000, ..at_once() };
        let mut mocks = Vec::new();
        for (model, options) in [(MODEL, at_once()), ("broken", failing), ("dying", dying)] {
            let mock = start_mock(options).await;
            list_model(admin, model, json!({})).await;
            let provider = open_provider(admin, &format!("provider of {model}"), &endpoint(&mock)).await;
            mocks.push(mock);
            provider.place(&ask(model, 135_000, 100_000_000, json!({}))).await;
        }
        list_model(admin, "unsold", json!({})).await;
        let buyer = open_buyer(admin, "buyer", 1_000).await;
        let limited = json!({ "name": "limited", "scopes": ["trade"], "requests_per_minute": 1 });
        let limited = buyer.api.post("/v1/keys", &limited).await.ok()["api_key"].clone();
        let poor = open_account(admin, "poor", &["trade"]).await;
        let reader = open_account(admin, "reader", &["read"]).await;
        let setup = json!({
            "base": gollem.base(), "model": MODEL, "key": buyer.api.key(), "limited": limited, "poor": poor.api.key(),
            "reader": reader.api.key(),
        });
        Scene { gollem, setup, _mocks: mocks, _folder: folder }
    }

    /// Runs a suite to its end; it fails if the suite does.
    async fn run(self, mut suite: Command) {
        suite.env("SETUP", self.setup.to_string());
        let output = tokio::task::spawn_blocking(move || suite.output()).await.unwrap().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && output.stdout == b"as expected\n", "{stderr}");
        assert_eq!(self.gollem.state().await["ledger_sum"], 0);
        self.gollem.process.stop().await;
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A suite in Python, if its package is there.
fn python(package: &str, suite: &str) -> Option<Command> {
    let python = std::env::var("GOLLEM_TEST_PYTHON").unwrap_or_else(|_| "python3".into());
    let found = Command::new(&python).args(["-c", &format!("import {package}")]).output();
    if !found.is_ok_and(|found| found.status.success()) {
        skipped(&format!("{python} lacks the package {package} (scripts/test-clients.sh, or set GOLLEM_TEST_PYTHON)"));
        return None;
    }
    let mut command = Command::new(python);
    command.arg(root().join("tests/clients").join(suite));
    Some(command)
}

#[tokio::test(flavor = "multi_thread")]
async fn openai_s_python_package_needs_only_another_address() {
    let Some(suite) = python("openai", "openai_suite.py") else { return };
    Scene::open().await.run(suite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn anthropic_s_python_package_needs_only_another_address() {
    let Some(suite) = python("anthropic", "anthropic_suite.py") else { return };
    Scene::open().await.run(suite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn openai_s_node_package_needs_only_another_address() {
    let packages = root().join("target/test-clients/node");
    let has_node = Command::new("node").arg("--version").output().is_ok_and(|found| found.status.success());
    if !has_node || !packages.join("node_modules/openai").is_dir() {
        return skipped("the Node suite needs node, and its package openai (scripts/test-clients.sh)");
    }
    let mut suite = Command::new("node");
    suite.arg(root().join("tests/clients/openai_suite.mjs")).arg(packages);
    Scene::open().await.run(suite).await;
}
