//! The benchmarks, small: they end well, and programs can read what they print.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs `gollem-bench` and returns its exit code and standard output.
fn bench(arguments: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_gollem-bench")).args(arguments).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.lines().all(|line| line.starts_with("gollem-bench: ")), "{arguments:?}: {said}");
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

/// The JSON lines of a run that ends well.
fn measurements(arguments: &[&str]) -> Vec<Value> {
    let (code, text) = bench(arguments);
    assert_eq!(code, 0);
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn check_numbers(measurement: &Value, keys: &[&str]) {
    for key in keys {
        assert!(measurement[key].as_f64().is_some_and(|number| number > 0.0), "{key} in {measurement}");
    }
}

#[test]
fn the_engine_bench_prints_its_figures_and_the_same_state_for_the_same_seed() {
    let run = |seed| {
        let mut lines = measurements(&["engine", "--commands", "3000", "--seed", seed, "--json"]);
        assert_eq!(lines.len(), 1);
        lines.remove(0)
    };
    let (first, again, other) = (run("1"), run("1"), run("2"));
    check_numbers(&first, &["commands_per_s", "p50_ns", "p99_ns", "p999_ns", "trades"]);
    assert_eq!((&first["engine"], &first["commands"]), (&Value::from("gollem"), &Value::from(3_000)));
    assert_eq!(first["workload"], "calls");
    assert_eq!((&first["state_hash"], &first["trades"]), (&again["state_hash"], &again["trades"]));
    assert_ne!(first["state_hash"], other["state_hash"]);
}

#[test]
fn the_pipeline_bench_prints_its_figures_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let volume = ["--commands", "5000", "--rates", "200,1000", "--seconds", "1"];
    let lines = measurements(&[&["pipeline", "--dir", path, "--json"], volume.as_slice()].concat());
    assert_eq!(lines.len(), 4);
    for (line, together) in lines[..2].iter().zip([1, 64]) {
        check_numbers(line, &["durable_commands_per_s", "bytes_per_command", "group_commands_p50"]);
        assert_eq!((&line["together"], line["stages"].as_array().map(Vec::len)), (&Value::from(together), Some(6)));
    }
    for (line, rate) in lines[2..].iter().zip([200, 1_000]) {
        assert_eq!((&line["rate"], &line["commands"]), (&Value::from(rate), &Value::from(rate)));
        check_numbers(line, &["p50_us", "p99_us", "p999_us", "max_us", "fdatasync_p50_us", "ack_p50_per_fdatasync"]);
        assert!(line["p50_us"].as_f64() <= line["max_us"].as_f64(), "{line}");
    }
    assert_eq!(dir.path().read_dir().unwrap().count(), 0, "the temporary folder is removed");
}

/// Generates a small order file.
fn order_file(dir: &Path, seed: &str) -> PathBuf {
    let path = dir.join(format!("exchange-{seed}.bin"));
    let out = path.to_str().unwrap();
    let volume = ["--warm", "1000", "--meas", "5000", "--out", out];
    let (code, text) =
        bench(&[["generate", "--shape", "exchange", "--seed", seed].as_slice(), volume.as_slice()].concat());
    assert!(code == 0 && text.contains("5,000 to measure") && text.contains("the first 7,000 operations"), "{text}");
    path
}

#[test]
fn an_order_file_is_replayed_by_each_engine_with_the_trades_it_expects() {
    let dir = tempfile::tempdir().unwrap();
    let files = [order_file(dir.path(), "1"), order_file(dir.path(), "2")];
    let [first, second] = files.each_ref().map(|path| path.to_str().unwrap());
    let passes = ["--repetitions", "2", "--latency-passes", "1"];
    let arguments = [["engine", "--workload", first, "--workload", second].as_slice(), &passes].concat();
    let lines = measurements(&[arguments.as_slice(), &["--json"]].concat());
    for line in &lines {
        check_numbers(line, &["commands_per_s", "best_commands_per_s", "p99_ns", "p999_ns", "trades", "quantity"]);
        assert_eq!((&line["commands"], line["hash"].as_str().unwrap().len()), (&Value::from(5_000), 16));
    }
    let bare: Vec<&Value> = lines.iter().filter(|line| line["engine"] == "bare").collect();
    assert_eq!((&bare[0]["workload"], &bare[1]["workload"]), (&"exchange-1".into(), &"exchange-2".into()));
    assert_ne!(bare[0]["hash"], bare[1]["hash"]);
    let (code, table) = bench(&arguments);
    assert!(code == 0 && table.contains("one book, one pinned thread: exchange-2, seed 2"), "{table}");
}

#[test]
fn an_order_file_with_another_answer_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = order_file(dir.path(), "3");
    let mut bytes = fs::read(&path).unwrap();
    bytes[96] ^= 1; // The trade hash.
    fs::write(&path, bytes).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_gollem-bench")).args(["engine", "--workload"]).arg(&path).output();
    let output = output.unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    for part in ["exchange-3", "expected", "actual"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn people_get_tables() {
    let dir = tempfile::tempdir().unwrap();
    let (code, engine) = bench(&["engine", "--commands", "1000"]);
    assert!(code == 0 && engine.contains("\n  commands/s "), "{engine}");
    let arguments = ["pipeline", "--commands", "1", "--rates", "1", "--seconds", "1", "--dir"];
    let (code, pipeline) = bench(&[arguments.as_slice(), &[dir.path().to_str().unwrap()]].concat());
    assert!(code == 0 && pipeline.contains("\n  open loop, 1/s "), "{pipeline}");
}

#[test]
fn a_folder_that_does_not_exist_is_a_failure_with_its_name() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_gollem-bench")).args(["pipeline", "--dir", "no/such/folder"]).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("no/such/folder"));
}

#[test]
fn the_pareto_bench_prints_its_figures_and_the_same_hashes_for_the_same_seed() {
    let arguments = ["pareto", "--asks", "200,500", "--commands", "100", "--case", "anti", "--case", "plain"];
    let run = || measurements(&[arguments.as_slice(), &["--json"]].concat());
    let (first, again) = (run(), run());
    assert_eq!(first.len(), 2 * (3 * 8 + 2 + 8 + 2));
    for (line, other) in first.iter().zip(&again) {
        check_numbers(line, &["commands", "commands_per_s", "max_ns", "clock_ns"]);
        assert_eq!((&line["engine"], &line["hash"]), (&"gollem".into(), &other["hash"]));
        assert!(line["p50_ns"].as_u64() <= line["max_ns"].as_u64(), "{line}");
    }
    let matching = first.iter().find(|line| line["workload"] == "pareto-anti-500-10%-match").unwrap();
    check_numbers(matching, &["trades", "quantity"]);
    let (code, table) = bench(&arguments);
    assert!(code == 0 && table.contains("\npareto-plain: 500 asks, seed 42\n"), "{table}");
}

#[test]
fn the_recovery_bench_prints_its_figures_and_the_same_state_for_the_same_seed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let volume = ["--commands", "5000", "--repetitions", "2", "--shape", "exchange,churn", "--dir", path];
    let run = || measurements(&[["recovery", "--json"].as_slice(), &volume].concat());
    let (first, again) = (run(), run());
    assert_eq!(first.len(), 2);
    for ((line, other), (shape, filled)) in first.iter().zip(&again).zip([("exchange", 1_000), ("churn", 10_000)]) {
        let rates = ["read_inputs_per_s", "decoded_inputs_per_s", "recovered_inputs_per_s"];
        check_numbers(
            line,
            &[rates.as_slice(), &["journal_bytes", "bytes_per_command", "recovered_mb_per_s"]].concat(),
        );
        assert!(line["recovered_inputs_per_s"].as_u64() <= line["best_recovered_inputs_per_s"].as_u64(), "{line}");
        let commands = 21_001 + filled + 5_000;
        assert_eq!((&line["workload"], &line["commands"]), (&shape.into(), &commands.into()));
        assert_eq!((&line["state_hash"], &line["journal_bytes"]), (&other["state_hash"], &other["journal_bytes"]));
    }
    assert_ne!(first[0]["state_hash"], first[1]["state_hash"]);
    let (code, table) = bench(&[["recovery"].as_slice(), &volume].concat());
    assert!(code == 0 && table.contains("\nchurn, seed 42\n"), "{table}");
    assert_eq!(dir.path().read_dir().unwrap().count(), 0, "the temporary folders are removed");
}

#[test]
fn the_snapshot_bench_prints_its_figures_and_the_same_state_for_the_same_seed() {
    let dir = tempfile::tempdir().unwrap();
    let volume = ["--orders", "3000", "--accounts", "1000", "--repetitions", "2"];
    let arguments = [["snapshot", "--dir", dir.path().to_str().unwrap()].as_slice(), &volume].concat();
    let run = || measurements(&[arguments.as_slice(), &["--json"]].concat()).remove(0);
    let (first, again) = (run(), run());
    check_numbers(&first, &["write_s", "load_s", "bytes", "bytes_per_order", "bytes_per_account"]);
    assert_eq!((&first["orders"], &first["accounts"]), (&Value::from(3_000), &Value::from(1_000)));
    assert_eq!((&first["state_hash"], &first["bytes"]), (&again["state_hash"], &again["bytes"]));
    let (code, table) = bench(&arguments);
    assert!(code == 0 && table.contains("3,000 open orders, 1,000 accounts"), "{table}");
    assert_eq!(dir.path().read_dir().unwrap().count(), 0, "the temporary folder is removed");
}

#[test]
fn the_projections_bench_folds_the_same_rows_for_the_same_seed_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let run = |seed, together| {
        let volume = ["--commands", "3000", "--seed", seed, "--together", together];
        let mut lines = measurements(&[&["projections", "--dir", path, "--json"], volume.as_slice()].concat());
        assert_eq!(lines.len(), 1);
        lines.remove(0)
    };
    let (whole, parts, other) = (run("1", "4096"), run("1", "100"), run("2", "4096"));
    check_numbers(&whole, &["events_per_s", "wall_events_per_s", "ns_per_event", "events"]);
    assert_eq!(whole["content_hash"], parts["content_hash"], "however it was batched");
    assert_ne!(whole["content_hash"], other["content_hash"]);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

/// Builds the programs that are measured, as this test itself was built: cargo builds no other package's for a test.
fn build_servers() {
    let folder = Path::new(env!("CARGO_BIN_EXE_gollem-bench")).parent().unwrap();
    let profile = match folder.file_name().and_then(|name| name.to_str()).unwrap() {
        "debug" => "dev",
        profile => profile,
    };
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--bins", "-p", "gollem-gateway", "-p", "gollem-provider", "--profile", profile]);
    cargo.arg("--target-dir").arg(folder.parent().unwrap()).current_dir(env!("CARGO_MANIFEST_DIR"));
    let built = cargo.output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
}

#[test]
fn the_inference_bench_prints_every_way_beside_the_direct_calls_and_leaves_nothing_behind() {
    build_servers();
    let dir = tempfile::tempdir().unwrap();
    let volume = ["--rate", "40", "--seconds", "1", "--delay", "20", "--clients", "4"];
    let arguments = [["inference", "--dir", dir.path().to_str().unwrap()].as_slice(), &volume].concat();
    let lines = measurements(&[arguments.as_slice(), &["--json"]].concat());
    assert_eq!(lines.len(), 1);
    let report = &lines[0];
    check_numbers(&report["overhead_us"], &["p50", "p99", "p999", "samples"]);
    assert!(report["added_us"]["p50"].is_number() && report["added_us"]["p99"].is_number(), "{report}");
    check_numbers(report, &["samples", "closed_per_s"]);
    assert_eq!((&report["errors"], &report["headline"]["rate"]), (&Value::from(0), &Value::from(40)), "{report}");
    let runs = report["runs"].as_array().unwrap();
    // Two shapes, each on schedule and with clients that do not wait, on three ways.
    assert_eq!(runs.len(), 12);
    for ways in runs.chunks(3) {
        let kinds: Vec<&str> = ways.iter().map(|run| run["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["direct", "pass-through", "gollem"]);
        for run in ways {
            assert_eq!(run["errors"], 0, "{run}");
            assert!(run["loop"] == "closed" || run["samples"] == 40, "{run}");
            assert!(run["latency_us"]["p50"].as_f64().unwrap() >= 20_000.0, "the model takes 20 ms: {run}");
            assert!(run["first_us"]["p50"].as_f64() <= run["latency_us"]["p50"].as_f64(), "{run}");
        }
        assert_eq!(ways[0]["added_us"]["p50"], 0.0, "direct calls are what others are held against");
        let (own, memory) = (&ways[2]["overhead_us"], &ways[2]["resident_mib"]);
        assert!(own["samples"].as_u64().unwrap() >= ways[2]["samples"].as_u64().unwrap(), "{own}");
        assert!(memory[0].as_f64().unwrap() > 1.0 && memory[1].as_f64().unwrap() > 1.0, "{memory}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "the temporary folder is removed");
}
