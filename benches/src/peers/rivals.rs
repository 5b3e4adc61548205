//! The other engines: where their adapters are, how these are built and run.

use crate::measure::{self, Measurement, Plan};
use crate::say;
use crate::workload::Work;
use anyhow::{Context, anyhow, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a rival's adapter is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Adapter {
    /// The Java adapter, with this first argument.
    Java(&'static str),
    /// The Rust adapters' one program, which takes the rival's name.
    Rust,
}

/// Another engine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rival {
    /// Its name in the table and in its adapter's output.
    pub(crate) name: &'static str,
    adapter: Adapter,
    /// Measured operations at most, so that a slow one does not hold up the run.
    pub(crate) ops_max: u64,
    /// Orders that fill its book at most; a larger book takes too long to fill in every pass.
    prefill_max: u64,
}

/// The engine that ratios are to.
pub(crate) const BASELINE: &str = "exchange-core with risk";

/// All of them, in the table's order.
pub(crate) const RIVALS: &[Rival] = &[
    Rival { name: BASELINE, adapter: Adapter::Java("risk"), ops_max: u64::MAX, prefill_max: u64::MAX },
    Rival { name: "exchange-core book", adapter: Adapter::Java("book"), ops_max: u64::MAX, prefill_max: u64::MAX },
    Rival { name: "matchcore", adapter: Adapter::Rust, ops_max: 2_000_000, prefill_max: u64::MAX },
    Rival { name: "lobster", adapter: Adapter::Rust, ops_max: 500_000, prefill_max: u64::MAX },
    Rival { name: "orderbook-rs", adapter: Adapter::Rust, ops_max: 100_000, prefill_max: 100_000 },
];

/// Throughput collector, a young generation that takes a whole pass, and what exchange-core's libraries reach into.
const JAVA_OPTIONS: [&str; 11] = [
    "-Xms3g",
    "-Xmx3g",
    "-Xmn2g",
    "-XX:+AlwaysPreTouch",
    "-XX:+UseParallelGC",
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
    "--add-opens=java.base/java.lang.reflect=ALL-UNNAMED",
    "--add-opens=java.base/java.nio=ALL-UNNAMED",
    "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
    "--add-exports=java.base/jdk.internal.ref=ALL-UNNAMED",
    "--add-exports=java.base/jdk.internal.misc=ALL-UNNAMED",
];

impl Rival {
    /// Whether it can be measured over the file in reasonable time.
    ///
    /// # Errors
    /// When not.
    pub(crate) fn takes(&self, work: &Work) -> anyhow::Result<()> {
        let prefill = work.header.prefill;
        ensure!(prefill <= self.prefill_max, "filling its book with {prefill} orders takes too long");
        Ok(())
    }
}

/// Where adapters are built and generated files are kept; not in git.
pub(crate) fn target() -> PathBuf {
    sources().join("target")
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers")
}

/// The programs that could be built, or why not.
#[derive(Debug)]
pub(crate) struct Adapters {
    /// The class path.
    java: Result<String, String>,
    /// The program.
    rust: Result<PathBuf, String>,
}

impl Adapters {
    /// Builds what is missing or old.
    pub(crate) fn build() -> Adapters {
        Adapters {
            java: java().map_err(|error| format!("{error:#}")),
            rust: rust().map_err(|error| format!("{error:#}")),
        }
    }

    /// Measures a rival over a file.
    ///
    /// # Errors
    /// When its adapter could not be built, fails, or prints something else than a measurement of that rival.
    pub(crate) fn run(&self, rival: &Rival, file: &Path, ops: u64, plan: Plan) -> anyhow::Result<Measurement> {
        let name = crate::book::name(file);
        let (repetitions, latency_passes) = (plan.repetitions.to_string(), plan.latency_passes.to_string());
        let mut command = match rival.adapter {
            Adapter::Java(engine) => {
                let class_path = self.java.as_ref().map_err(|error| anyhow!("{error}"))?;
                let mut command = Command::new("java");
                command.args(JAVA_OPTIONS).args(["-cp", class_path, "gollem.peers.Main", engine]).arg(file);
                let ops = ops.min(i32::MAX as u64).to_string(); // Above the largest file.
                command.args([&name, &measure::core()?.id.to_string(), &repetitions, &latency_passes, &ops]);
                command
            }
            Adapter::Rust => {
                let mut command = Command::new(self.rust.as_ref().map_err(|error| anyhow!("{error}"))?);
                command.arg(rival.name).arg(file).args([&name, "--limit-ops", &ops.to_string()]);
                command.args(["--repetitions", &repetitions, "--latency-passes", &latency_passes]);
                command
            }
        };
        let text = output_of(&mut command)?;
        let measurement: Measurement =
            serde_json::from_str(text.trim()).with_context(|| format!("its adapter printed {text:?}"))?;
        ensure!(measurement.engine == rival.name, "its adapter measured {}", measurement.engine);
        Ok(measurement)
    }
}

/// Compiles the Java adapter and fetches exchange-core, and returns the class path.
fn java() -> anyhow::Result<String> {
    output_of(Command::new("java").arg("-version")).context("no Java 17 (apt-get install openjdk-17-jdk-headless)")?;
    let (target, project) = (target().join("exchange-core"), sources().join("exchange-core/pom.xml"));
    say(format_args!("building the exchange-core adapter with Maven in {}", target.display()));
    let mut maven = Command::new("mvn");
    maven.args(["-q", "-B", "-f"]).arg(project).arg(format!("-Dadapter.target={}", target.display()));
    maven.args(["compile", "dependency:copy-dependencies"]);
    maven.arg(format!("-DoutputDirectory={}", target.join("libs").display()));
    output_of(&mut maven).context("the exchange-core adapter cannot be built (apt-get install maven)")?;
    Ok(format!("{}:{}", target.join("classes").display(), target.join("libs/*").display()))
}

/// Compiles the Rust adapters and returns their program.
fn rust() -> anyhow::Result<PathBuf> {
    let (target, project) = (target().join("rust"), sources().join("rust/Cargo.toml"));
    say(format_args!("building the adapters of the Rust books with cargo in {}", target.display()));
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--release", "--quiet", "--locked", "--manifest-path"]).arg(project);
    cargo.arg("--target-dir").arg(&target);
    output_of(&mut cargo).context("the adapters of the Rust books cannot be built")?;
    Ok(target.join("release/gollem-peers"))
}

/// Runs a program to its end and returns its standard output.
///
/// # Errors
/// When it cannot be started or fails; with the last lines it wrote.
pub(crate) fn output_of(command: &mut Command) -> anyhow::Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot run {program}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = format!("{text}{}", String::from_utf8_lossy(&output.stderr));
    let last: Vec<&str> = said.lines().rev().take(5).collect();
    let last: Vec<&str> = last.into_iter().rev().collect();
    ensure!(output.status.success(), "{program} failed ({}): {}", output.status, last.join(" / "));
    Ok(text)
}
