//! What consumers make of the topics of a real broker: the documented examples, killed at any moment, and the projector
//! agree with the exchange's own figures, though broker and exchange are killed too.
//!
//! Needs Java, Kafka's files (`scripts/kafka.sh fetch`) and the package `confluent-kafka` in the Python that
//! `GOLLEM_TEST_PYTHON` names; says so where they are missing.

use crate::support::http::Api;
use crate::support::market::{Trader, ask, atoms, bid, list_model, open_account, open_buyer};
use crate::support::process::{ADMIN_KEY, Gollem, Process};
use crate::support::random::{Random, seed};
use crate::support::{DEADLINE, eventually, eventually_within, skipped};
use gollem_tests::real::broker::{Broker, root};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

const MODELS: [&str; 2] = ["gpt4", "llama-3.3-70b"];
/// For what Java and a broker take beside other tests on two cores.
const PATIENCE: Duration = Duration::from_secs(300);
const PROJECTOR_TOKEN: &str = "a projector's token for these tests";

/// A broker; without Java or Kafka's files there is none, and why is said.
fn broker() -> Option<Broker> {
    Broker::start().map_err(|why| skipped(&format!("no Kafka broker: {why}"))).ok()
}

/// A consumer of `docs/kafka`.
#[derive(Clone, Copy, Debug)]
enum Example {
    Python,
    Java,
}

impl Example {
    /// The command that counts what there is, with its sums in a file of `folder`; `None`, saying why, where it cannot run.
    fn command(self, broker: &Broker, folder: &Path) -> Option<Command> {
        let docs = root().join("docs/kafka");
        let mut command = match self {
            Example::Python => {
                let python = std::env::var("GOLLEM_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
                let found = Command::new(&python).args(["-c", "import confluent_kafka"]).output();
                if !found.is_ok_and(|found| found.status.success()) {
                    skipped("the Python package confluent-kafka is missing");
                    return None;
                }
                let mut command = Command::new(python);
                command.arg(docs.join("balances.py"));
                command
            }
            Example::Java => {
                if !Command::new("javac").arg("-version").output().is_ok_and(|found| found.status.success()) {
                    skipped("no Java compiler (a JDK of version 17 or later)");
                    return None;
                }
                let mut command = Command::new("java");
                command.arg("-cp").arg(root().join("target/kafka/libs/*")).arg(docs.join("Balances.java"));
                command
            }
        };
        command.arg(broker.address()).arg(folder.join(format!("{self:?}.state")));
        Some(command)
    }

    /// Counts everything that is there and returns the sums.
    fn sums(self, broker: &Broker, folder: &Path) -> Option<Value> {
        let output = self.command(broker, folder)?.arg("--until-end").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{self:?}: {}: {said}", output.status);
        Some(serde_json::from_slice(&output.stdout).unwrap())
    }

    /// When it wrote its sums last.
    fn written(self, folder: &Path) -> Option<SystemTime> {
        std::fs::metadata(folder.join(format!("{self:?}.state"))).and_then(|file| file.modified()).ok()
    }

    /// Begins to count, until it is killed.
    fn begin(self, broker: &Broker, folder: &Path) -> Option<Child> {
        let mut command = self.command(broker, folder)?;
        Some(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

/// Traders who keep trading while things are killed.
struct Market {
    traders: Vec<Trader>,
    random: Random,
}

impl Market {
    async fn open(admin: &Api) -> Market {
        for model in MODELS {
            list_model(admin, model, json!({})).await;
        }
        let mut traders = Vec::new();
        for number in 0..3 {
            traders.push(open_buyer(admin, &format!("buyer {number}"), 100).await);
            traders.push(open_account(admin, &format!("provider {number}"), &["read", "provide", "trade"]).await);
        }
        Market { traders, random: Random::new(seed()) }
    }

    /// Places so many orders at random; a refusal is an answer too.
    async fn trade(&mut self, admin: &Api, orders: usize) {
        for _ in 0..orders {
            let draw = |random: &mut Random, below: u64| random.between(0, below - 1);
            let model = MODELS[draw(&mut self.random, 2) as usize];
            let price = 1_000_000 + 10_000 * draw(&mut self.random, 40) as i64;
            let quantity = 1 + draw(&mut self.random, 50);
            let trader = &self.traders[draw(&mut self.random, 6) as usize];
            let sells = draw(&mut self.random, 2) == 0;
            let order = if sells { ask } else { bid }(model, price, quantity, json!({}));
            let reply = trader.api.at(admin.base()).post("/v1/orders", &order).await;
            assert!(reply.status < 500, "{}", reply.body);
        }
    }
}

async fn serve(data: &Path, broker: &Broker) -> Gollem {
    let (folder, kafka) = (data.to_str().unwrap(), broker.address());
    let rest = ["--dev", "--pin", "off", "--tree-key", "off", "--kafka", &kafka];
    Gollem::start(data, &[["serve", "--data", folder, "--listen", "127.0.0.1:0"].as_slice(), &rest].concat()).await
}

/// Waits until everything that is durable is in the topics.
async fn published(admin: &Api) {
    eventually_within(PATIENCE, "everything is published", async || {
        let text = String::from_utf8(admin.get("/metrics").await.bytes.to_vec()).unwrap();
        let gauge = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.unwrap_or_else(|| panic!("{name} is missing in {text}")).to_owned()
        };
        (gauge("gollem_kafka_up") == "1" && gauge("gollem_kafka_lag_inputs") == "0").then_some(())
    })
    .await;
}

/// Every account's money and every model's volume by the hour, as the exchange tells them, in the examples' form.
async fn figures(admin: &Api, market: &Market) -> Value {
    let (mut balances, mut volume) = (BTreeMap::new(), BTreeMap::new());
    for trader in &market.traders {
        let body = trader.api.at(admin.base()).get("/v1/balance").await.ok();
        let ledgers = ["available", "held", "escrow", "earned", "payout_pending"];
        let own: BTreeMap<&str, i64> =
            ledgers.into_iter().map(|name| (name, atoms(&body[name]))).filter(|(_, atoms)| *atoms != 0).collect();
        if !own.is_empty() {
            balances.insert(trader.id.clone(), own);
        }
    }
    for model in MODELS {
        let candles = admin.get(&format!("/v1/candles/{model}?interval=1h&limit=1000")).await.ok();
        let hours: BTreeMap<String, Value> = candles["candles"]
            .as_array()
            .unwrap()
            .iter()
            .map(|candle| {
                let (units, trades) = (&candle["units"], &candle["trades"]);
                let volume = json!({ "units": units, "atoms": atoms(&candle["credits"]), "trades": trades });
                (utc(candle["start_us"].as_u64().unwrap()), volume)
            })
            .collect();
        volume.insert(model, hours);
    }
    json!({ "balances": balances, "volume": volume })
}

/// A time as text, by the system's own calendar.
fn utc(us: u64) -> String {
    let seconds = format!("@{}", us / 1_000_000);
    let text = Command::new("date").args(["-u", "-d", &seconds, "+%Y-%m-%dT%H:%M:%SZ"]).output().unwrap().stdout;
    String::from_utf8(text).unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn consumers_that_are_killed_agree_with_the_exchange() {
    let Some(broker) = broker() else { return };
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut gollem = serve(&data, &broker).await;
    let mut market = Market::open(&gollem.admin).await;
    for round in 0..4 {
        let consumers: Vec<(Example, Child, Option<SystemTime>)> = [Example::Python, Example::Java]
            .iter()
            .filter_map(|example| {
                let before = example.written(folder.path());
                Some((*example, example.begin(&broker, folder.path())?, before))
            })
            .collect();
        market.trade(&gollem.admin, 150).await;
        match round {
            0 => published(&gollem.admin).await,
            1 => {
                broker.kill().unwrap();
                broker.go_on().unwrap();
            }
            2 => {
                gollem.process.kill();
                gollem = serve(&data, &broker).await;
            }
            _ => {}
        }
        for (example, mut consumer, before) in consumers {
            let counts = async || {
                // One whose broker goes away while it begins ends with that error; who runs it begins it again.
                if let Some(ended) = consumer.try_wait().unwrap() {
                    println!("round {round}: {example:?} ended: {ended}");
                    consumer = example.begin(&broker, folder.path()).unwrap();
                }
                (example.written(folder.path()) > before).then_some(())
            };
            eventually_within(PATIENCE, "a consumer counts", counts).await;
            consumer.kill().unwrap();
            consumer.wait().unwrap();
        }
    }
    published(&gollem.admin).await;
    let expected = figures(&gollem.admin, &market).await;
    for example in [Example::Python, Example::Java] {
        let Some(mut sums) = example.sums(&broker, folder.path()) else { continue };
        let all =
            sums["balances"].as_object().unwrap().values().flat_map(|ledgers| ledgers.as_object().unwrap().values());
        assert_eq!(all.map(|atoms| i128::from(atoms.as_i64().unwrap())).sum::<i128>(), 0, "no credit was made or lost");
        sums["balances"].as_object_mut().unwrap().shift_remove("platform");
        assert_eq!(sums, expected, "{example:?}");
    }
    gollem.process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_projector_shows_what_the_exchange_shows_and_tells_nobody_without_its_token() {
    let Some(broker) = broker() else { return };
    let folder = tempfile::tempdir().unwrap();
    let gollem = serve(&folder.path().join("data"), &broker).await;
    let mut market = Market::open(&gollem.admin).await;
    let (kafka, views) = (broker.address(), folder.path().join("projected"));
    let arguments = ["--kafka", &kafka, "--data", views.to_str().unwrap(), "--listen", "127.0.0.1:0"];
    let env = [("GOLLEM_PROJECTOR_TOKEN", PROJECTOR_TOKEN), ("GOLLEM_LOG", "warn")];
    let start = || Process::start("gollem-projector", &arguments, &env, &folder.path().join("projector.log"));
    let mut projector = start();
    let base = projector.line("listening on ").await;
    market.trade(&gollem.admin, 200).await;
    projector.kill();
    drop(base);
    market.trade(&gollem.admin, 100).await;
    let mut projector = start();
    let reader = Api::new(&projector.line("listening on ").await, Some(PROJECTOR_TOKEN));
    let own = eventually_within(PATIENCE, "the views of both are equal", async || {
        let (ours, theirs) = (gollem.admin.get("/v1/views").await, reader.get("/v1/views").await);
        (ours.status == 200 && ours.body == theirs.body).then_some(ours.body)
    })
    .await;
    assert!(own["seq"].as_u64().unwrap() > 200 && own["hash"].as_str().unwrap().len() == 64, "{own}");
    for path in ["/v1/instruments", "/v1/book/gpt4", "/v1/trades/gpt4", "/v1/candles/gpt4?interval=1m", "/v1/index"] {
        let public = reader.with_key(None);
        assert_eq!(public.get(path).await.ok(), gollem.admin.with_key(None).get(path).await.ok(), "{path}");
    }
    let trader = &market.traders[0];
    let path = format!("/v1/balance?account={}", trader.id);
    assert_eq!(reader.get(&path).await.ok(), trader.api.get("/v1/balance").await.ok());
    for key in [None, Some("another token"), Some(ADMIN_KEY)] {
        let reply = reader.with_key(key).get(&path).await;
        assert_eq!(reply.status, 401, "{}", reply.body);
    }
    projector.stop().await;
    // A view that was deleted is built again from the topic.
    std::fs::remove_dir_all(&views).unwrap();
    let mut projector = start();
    let reader = reader.at(&projector.line("listening on ").await);
    eventually_within(PATIENCE, "the view is built again", async || {
        (reader.get("/v1/views").await.body == own).then_some(())
    })
    .await;
    projector.stop().await;
    gollem.process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_whose_broker_is_away_serves_and_catches_up_when_it_is_back() {
    let Some(broker) = broker() else { return };
    let folder = tempfile::tempdir().unwrap();
    let gollem = serve(&folder.path().join("data"), &broker).await;
    let mut market = Market::open(&gollem.admin).await;
    published(&gollem.admin).await;
    broker.kill().unwrap();
    let started = std::time::Instant::now();
    market.trade(&gollem.admin, 100).await;
    assert!(started.elapsed() < DEADLINE, "nobody waits for a broker");
    eventually("the lag is seen", async || {
        let text = String::from_utf8(gollem.admin.get("/metrics").await.bytes.to_vec()).unwrap();
        let lag = text.lines().find_map(|line| line.strip_prefix("gollem_kafka_lag_inputs ")).unwrap().to_owned();
        (lag != "0").then_some(())
    })
    .await;
    broker.go_on().unwrap();
    published(&gollem.admin).await;
    gollem.process.stop().await;
}
