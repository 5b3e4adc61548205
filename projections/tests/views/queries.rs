//! The table of queries: every answer names its position, pages join up, and what may not be asked is refused by name.

use crate::exact::play;
use crate::market::{ACCOUNTS, spec};
use gollem_engine::*;
use gollem_projections::queries::{Access, Asked, QUERIES, QueryError};
use gollem_projections::{Fold, Views};
use serde_json::Value;
use std::collections::BTreeMap;

/// A market's views.
struct Venue {
    views: Views,
    _dir: tempfile::TempDir,
}

/// Inputs that are played.
const INPUTS: u64 = 3_000;

impl Venue {
    fn new() -> Venue {
        let dir = tempfile::tempdir().unwrap();
        let views = Views::open(dir.path()).unwrap();
        let mut fold = Fold::new(&views).unwrap();
        play(5, INPUTS, |_, seq, at, events| fold.apply(seq, at, events).unwrap());
        fold.flush().unwrap();
        drop(fold);
        Venue { views, _dir: dir }
    }

    /// Asks `path?params` for an account; whatever stands in the path's segment is found by comparing with the table.
    fn try_ask(&self, account: u32, question: &str) -> Result<Value, QueryError> {
        let (path, params) = question.split_once('?').unwrap_or((question, ""));
        let (query, segment) = QUERIES.iter().find_map(|query| Some((query, matches(query.path, path)?))).unwrap();
        let pairs = params.split('&').filter_map(|pair| pair.split_once('='));
        let params: BTreeMap<String, String> = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let asked = Asked { account: Some(AccountId(account)), segment: Some(segment), params };
        query.answer(&self.views.read().unwrap(), &asked)
    }

    fn ask(&self, account: u32, question: &str) -> Value {
        self.try_ask(account, question).unwrap_or_else(|error| panic!("{question}: {error}"))
    }

    /// All pages of a listing.
    fn pages(&self, account: u32, path: &str, list: &str) -> Vec<Value> {
        let mut rows = Vec::new();
        let mut question = path.to_owned();
        loop {
            let answer = self.ask(account, &question);
            rows.extend(answer[list].as_array().unwrap().iter().cloned());
            match answer["next_before"].as_str() {
                Some(before) => question = format!("{path}&before={before}"),
                None => return rows,
            }
        }
    }
}

/// What stands for the parameter, if the path is of that form; empty if the form has none.
fn matches(form: &str, path: &str) -> Option<String> {
    let (forms, parts): (Vec<_>, Vec<_>) = (form.split('/').collect(), path.split('/').collect());
    if forms.len() != parts.len() {
        return None;
    }
    let mut segment = String::new();
    for (form, part) in forms.into_iter().zip(parts) {
        if form.starts_with('{') {
            segment = part.to_owned();
        } else if form != part {
            return None;
        }
    }
    // Literal paths stand before those with a parameter of the same length.
    Some(segment)
}

fn sample(path: &str) -> String {
    path.replace("{instrument}", "model-1").replace("{model}", "model-1").replace("{account}", "acc_1")
}

/// A decimal as a number of its last decimals.
fn atoms(value: &Value) -> i128 {
    value.as_str().unwrap().replace('.', "").parse().unwrap()
}

#[test]
fn every_answer_names_its_position_and_an_unknown_parameter_is_refused_by_name() {
    let venue = Venue::new();
    let own = venue.ask(1, "/v1/orders")["orders"][0]["id"].as_str().unwrap().to_owned();
    let contract = venue.ask(1, "/v1/contracts")["contracts"][0]["id"].as_str().unwrap().to_owned();
    let mut times = 0;
    for query in QUERIES {
        let path = sample(query.path).replace("{order}", &own).replace("{contract}", &contract);
        let answer = venue.ask(1, &path);
        assert_eq!(answer["seq"], INPUTS, "{path}");
        times += check_times(&path, &answer);
        assert!(answer["at_us"].as_u64().unwrap() > 1_700_000_000_000_000, "{path}");
        match venue.try_ask(1, &format!("{path}?colour=red")) {
            Err(QueryError::Invalid { param, message }) => {
                assert!(param == "colour" && message.contains("colour"), "{path}: {message}");
            }
            other => panic!("{path}: {other:?}"),
        }
        let nobody = Asked { account: None, segment: Some("model-1".into()), params: BTreeMap::new() };
        let refused = query.answer(&venue.views.read().unwrap(), &nobody).is_err();
        assert_eq!(refused, query.access == Access::Account, "{path}");
    }
    assert!(times > 500, "{times}");
}

/// Every time is told twice, next to each other, and both say the same; counts them.
fn check_times(path: &str, answer: &Value) -> usize {
    let mut count = 0;
    if let Value::Object(fields) = answer {
        for (name, value) in fields {
            let Some(short) = name.strip_suffix("_us") else { continue };
            let text = fields.get(short).unwrap_or_else(|| panic!("{path}: {name} stands alone"));
            match (value, text) {
                (Value::Null, Value::Null) => {}
                (Value::Number(us), Value::String(text)) => {
                    let us = us.as_u64().unwrap();
                    assert_eq!(*text, gollem_projections::words::utc(Timestamp(us * 1_000)), "{path}: {name}");
                    count += 1;
                }
                other => panic!("{path}: {name}: {other:?}"),
            }
        }
    }
    let parts: Vec<&Value> = match answer {
        Value::Object(fields) => fields.values().collect(),
        Value::Array(rows) => rows.iter().collect(),
        _ => Vec::new(),
    };
    count + parts.into_iter().map(|part| check_times(path, part)).sum::<usize>()
}

#[test]
fn fills_and_deliveries_are_what_contracts_say_in_another_way() {
    let venue = Venue::new();
    for account in 1..=ACCOUNTS {
        let contracts = venue.pages(account, "/v1/contracts?limit=1000", "contracts");
        let fills = venue.pages(account, "/v1/fills?limit=1000", "fills");
        let deliveries = venue.pages(account, "/v1/deliveries?limit=1000", "deliveries");
        for contract in &contracts {
            let id = contract["id"].as_str().unwrap();
            let own: Vec<&Value> = fills.iter().filter(|fill| fill["contract"] == id).collect();
            assert!(own.iter().any(|fill| fill["order"] == contract["order"]), "{contract}");
            for fill in own {
                let order = venue.ask(account, &format!("/v1/orders/{}", fill["order"].as_str().unwrap()));
                assert_eq!((&fill["side"], &fill["instrument"]), (&order["side"], &order["instrument"]), "{fill}");
                assert_eq!((&fill["price"], &fill["quantity"]), (&contract["price"], &contract["quantity"]));
                assert!(fill["liquidity"] != "taker" || fill["at"].as_str() >= order["created_at"].as_str());
            }
            assert_eq!(venue.ask(account, &format!("/v1/contracts/{id}"))["escrow"], contract["escrow"]);
            let delivered = deliveries.iter().filter(|delivery| delivery["contract"] == id);
            let units: u64 = delivered.clone().map(|delivery| delivery["quantity"].as_u64().unwrap()).sum();
            assert_eq!(contract["delivered"], units, "{contract}");
            let of = |name: &str| delivered.clone().map(|delivery| atoms(&delivery[name])).sum::<i128>();
            let name = if contract["role"] == "buyer" { "paid" } else { "earned" };
            assert_eq!(of(name), atoms(&contract[name]), "{contract}");
        }
        let owned = |fill: &&Value| contracts.iter().all(|contract| contract["id"] != fill["contract"]);
        assert_eq!(fills.iter().filter(owned).count(), 0, "every fill made a contract");
    }
}

#[test]
fn a_provider_s_quotes_are_its_open_asks() {
    let venue = Venue::new();
    let mut quoted = 0;
    for account in 1..=ACCOUNTS {
        let orders = venue.pages(account, "/v1/orders?status=open&limit=1000", "orders");
        let asks: Vec<&Value> = orders.iter().filter(|order| order["side"] == "ask").collect();
        let question = |what: &str| venue.ask(1, &format!("/api/provider/{what}?providerId=acc_{account}"));
        let status = question("status");
        let models = status["models"].as_array().unwrap();
        let quotes: usize = models.iter().map(|model| model["quotes"].as_array().unwrap().len()).sum();
        assert_eq!(quotes, asks.len());
        for limit in question("ratelimit")["instruments"].as_array().unwrap() {
            let own = asks.iter().filter(|ask| ask["instrument"] == limit["instrument"]);
            let units: u64 = own.map(|ask| ask["quantity"].as_u64().unwrap()).sum();
            assert_eq!(limit["limit"], units);
            assert!(limit["remaining"].as_u64() <= Some(units));
        }
        let card = venue.ask(1, &format!("/v1/providers/acc_{account}/scorecard"));
        for (at, card) in card["instruments"].as_array().unwrap().iter().enumerate() {
            assert_eq!(question("circuit")["instruments"][at]["state"], card["breaker"]["state"]);
            assert_eq!(question("latency")["instruments"][at]["latency_ms"], card["latency_ms"]);
        }
        quoted += quotes;
    }
    assert!(quoted > 5, "{quoted}");
}

#[test]
fn pages_join_up_to_the_whole_listing() {
    let venue = Venue::new();
    let listings = [
        ("/v1/transactions", "transactions"),
        ("/v1/orders", "orders"),
        ("/v1/orders?status=open", "orders"),
        ("/v1/contracts", "contracts"),
        ("/v1/contracts?status=open", "contracts"),
        ("/v1/holds", "holds"),
        ("/v1/deliveries", "deliveries"),
        ("/v1/payouts", "payouts"),
        ("/v1/trades/model-1", "trades"),
        ("/v1/usage", "usage"),
        ("/v1/usage?period=month", "usage"),
    ];
    for (path, list) in listings {
        let join = if path.contains('?') { '&' } else { '?' };
        let rows = |limit: usize| venue.pages(2, &format!("{path}{join}limit={limit}"), list);
        let whole = rows(if path.contains("usage") { 366 } else { 1_000 });
        assert!(whole.len() > 1, "{path}: {}", whole.len());
        for limit in [1, 7, whole.len()].into_iter().filter(|limit| *limit <= 366) {
            assert_eq!(rows(limit), whole, "{path} by {limit}");
        }
    }
}

#[test]
fn a_bad_parameter_is_named() {
    let venue = Venue::new();
    let bad = [
        ("/v1/orders?status=closed", "status"),
        ("/v1/orders?limit=0", "limit"),
        ("/v1/orders?limit=1001", "limit"),
        ("/v1/orders?limit=x", "limit"),
        ("/v1/orders?before=17", "before"),
        ("/v1/orders/17", "order"),
        ("/v1/orders?client_order_id=a&before=ord_1", "before"),
        ("/v1/contracts/ord_1", "contract"),
        ("/v1/fills?before=ord_1", "before"),
        ("/v1/deliveries?before=ctr_1", "before"),
        ("/api/provider/circuit?providerId=7", "providerId"),
        ("/v1/transactions?before=ord_1", "before"),
        ("/v1/trades/model-1?before=-", "before"),
        ("/v1/contracts?before=ord_1", "before"),
        ("/v1/payouts?before=1", "before"),
        ("/v1/book/model-1?level=4", "level"),
        ("/v1/book/model-1?limit=1001", "limit"),
        ("/v1/candles/model-1?interval=2m", "interval"),
        ("/v1/candles/model-1?from=now", "from"),
        ("/v1/candles/model-1?to=-1", "to"),
        ("/v1/providers/1/scorecard", "account"),
        ("/v1/usage?period=week", "period"),
        ("/v1/usage?before=yesterday", "before"),
        ("/v1/usage?limit=367", "limit"),
        ("/v1/usage/export?format=xml", "format"),
        ("/v1/usage/export?from=2026-02-30", "from"),
        ("/v1/usage/export?to=1", "to"),
        ("/v1/models/stats?days=0", "days"),
        ("/v1/models/model-1/stats?days=32", "days"),
        ("/v1/models/recommend?preference=luck", "preference"),
        ("/v1/models/recommend?max_price=0", "max_price"),
        ("/v1/models/recommend?max_price=1e3", "max_price"),
        ("/v1/models/recommend?max_latency=-1", "max_latency"),
        ("/v1/models/recommend?output_tokens=many", "output_tokens"),
    ];
    for (question, expected) in bad {
        match venue.try_ask(1, question) {
            Err(QueryError::Invalid { param, message }) => {
                assert!(param == expected && message.contains(expected), "{question}: {message}");
            }
            other => panic!("{question}: {other:?}"),
        }
    }
    let missing = [
        ("/v1/book/nothing", "instrument", "model_not_found"),
        ("/v1/trades/nothing", "instrument", "model_not_found"),
        ("/v1/candles/nothing", "instrument", "model_not_found"),
        ("/v1/index/nothing", "model", "model_not_found"),
        ("/v1/orders/ord_1", "order", "order_not_found"),
        ("/v1/contracts/ctr_1", "contract", "contract_not_found"),
        ("/v1/instruments/nothing", "instrument", "model_not_found"),
    ];
    for (question, expected, code_expected) in missing {
        match venue.try_ask(1, question) {
            Err(QueryError::NotFound { param, code, .. }) => assert_eq!((param, code), (expected, code_expected)),
            other => panic!("{question}: {other:?}"),
        }
    }
}

#[test]
fn another_s_order_is_unknown_and_another_s_earnings_are_not_told() {
    let venue = Venue::new();
    let order = venue.ask(1, "/v1/orders")["orders"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(venue.ask(1, &format!("/v1/orders/{order}"))["id"], order.as_str());
    assert!(matches!(venue.try_ask(2, &format!("/v1/orders/{order}")), Err(QueryError::NotFound { .. })));
    let tripped = |account: &u32| {
        let cards = venue.ask(*account, &format!("/v1/providers/acc_{account}/scorecard"));
        cards["instruments"][0]["breaker_history"].as_array().is_some_and(|history| !history.is_empty())
    };
    let provider = (1..=ACCOUNTS).find(tripped).unwrap();
    let card = format!("/v1/providers/acc_{provider}/scorecard");
    let own = &venue.ask(provider, &card)["instruments"][0];
    let others = &venue.ask(provider % ACCOUNTS + 1, &card)["instruments"][0];
    assert!(own["earned"].is_string() && others["earned"].is_null());
    assert!(own["deliveries"].as_u64() > Some(0) && own["deliveries"] == others["deliveries"]);
    let rate: f64 = own["success_rate"].as_str().unwrap().parse().unwrap();
    let failed = own["failed"].as_f64().unwrap() + own["overstated"].as_f64().unwrap();
    let failed = failed / own["deliveries"].as_f64().unwrap();
    assert!((1.0 - failed - rate).abs() < 0.0002, "{own}");
}

#[test]
fn figures_of_different_answers_agree() {
    let venue = Venue::new();
    for account in 1..=ACCOUNTS {
        let balance = venue.ask(account, "/v1/balance");
        let holds = venue.pages(account, "/v1/holds?limit=1000", "holds");
        assert_eq!(holds.iter().map(|hold| atoms(&hold["held"])).sum::<i128>(), atoms(&balance["held"]));
        let contracts = venue.pages(account, "/v1/contracts?status=open&limit=1000", "contracts");
        let escrow = contracts.iter().filter(|contract| contract["role"] == "buyer");
        let locks = venue.ask(account, "/v1/holds");
        let escrow = escrow.chain(locks["locks"].as_array().unwrap());
        assert_eq!(escrow.map(|part| atoms(&part["escrow"])).sum::<i128>(), atoms(&balance["escrow"]));
        let total = |answer: &Value| atoms(&answer["total"]["credits"]);
        let (days, months) =
            (venue.ask(account, "/v1/usage?limit=366"), venue.ask(account, "/v1/usage?period=month&limit=366"));
        let file = venue.ask(account, "/v1/usage/export");
        let exported: i128 = file["usage"].as_array().unwrap().iter().map(|row| atoms(&row["credits"])).sum();
        assert_eq!([total(&days), total(&months)], [exported; 2]);
        let csv = venue.ask(account, "/v1/usage/export?format=csv");
        assert_eq!(csv.as_str().unwrap().lines().count(), 1 + file["usage"].as_array().unwrap().len());
        let analytics = venue.ask(account, "/v1/analytics");
        for breakdown in ["models", "keys"] {
            let parts: i128 = analytics[breakdown].as_array().unwrap().iter().map(|row| atoms(&row["credits"])).sum();
            assert_eq!(parts, total(&analytics), "{breakdown}");
        }
        let projection = &analytics["projection"];
        assert!(atoms(&projection["projected_credits"]) >= atoms(&projection["spent_credits"]), "{projection}");
        let spending = venue.ask(account, "/v1/guardrails/spending");
        assert_eq!(spending["windows"].as_array().unwrap().len(), 17);
        assert_eq!(atoms(&spending["reserved"]), atoms(&balance["held"]) + atoms(&balance["escrow"]));
    }
}

#[test]
fn the_three_levels_of_a_book_show_the_same_market() {
    let venue = Venue::new();
    let [best, levels, orders] = [1, 2, 3].map(|level| venue.ask(1, &format!("/v1/book/model-1?level={level}")));
    for side in ["bids", "asks"] {
        let [best, levels, orders] = [&best, &levels, &orders].map(|book| book[side].as_array().unwrap().clone());
        assert_eq!(best, levels[..1], "{side}");
        let mut summed: Vec<(Value, u64, u64)> = Vec::new();
        for order in &orders {
            let units = order["quantity"].as_u64().unwrap();
            match summed.last_mut().filter(|level| level.0 == order["price"]) {
                Some(level) => (level.1, level.2) = (level.1 + units, level.2 + 1),
                None => summed.push((order["price"].clone(), units, 1)),
            }
        }
        let told = levels.iter().map(|level| {
            (level["price"].clone(), level["quantity"].as_u64().unwrap(), level["orders"].as_u64().unwrap())
        });
        assert!(told.eq(summed), "{side}");
    }
    assert_eq!(venue.ask(1, "/v1/book/model-1?limit=2")["bids"].as_array().unwrap().len(), 2);
}

#[test]
fn candles_page_back_in_time_without_a_gap() {
    let venue = Venue::new();
    let whole = venue.ask(1, "/v1/candles/model-1?interval=1h&limit=1000")["candles"].as_array().unwrap().clone();
    assert!(whole.len() > 3);
    let (mut joined, mut to) = (Vec::new(), String::new());
    loop {
        let answer = venue.ask(1, &format!("/v1/candles/model-1?interval=1h&limit=2{to}"));
        joined.splice(0..0, answer["candles"].as_array().unwrap().iter().cloned());
        match answer["next_to"].as_u64() {
            Some(next) => to = format!("&to={next}"),
            None => break,
        }
    }
    assert_eq!(joined, whole);
    let from = whole[1]["start_us"].as_u64().unwrap();
    let answer = venue.ask(1, &format!("/v1/candles/model-1?interval=1h&limit=1000&from={from}"));
    assert_eq!(answer["candles"], Value::from(whole[1..].to_vec()));
    let index = venue.ask(1, "/v1/index/model-1");
    assert_eq!(venue.ask(1, "/v1/index")["index"][0]["usd_per_million"], index["usd_per_million"]);
    assert_eq!(atoms(&index["usd_per_million"]), atoms(&index["credits_per_million"]), "a credit is $0.001");
    assert!(atoms(&index["usd_per_million_output"]) > atoms(&index["usd_per_million_input"]));
}

#[test]
fn what_was_delivered_of_a_model_adds_up_to_its_deliveries() {
    let venue = Venue::new();
    let all: Vec<Value> =
        (1..=ACCOUNTS).flat_map(|account| venue.pages(account, "/v1/deliveries?limit=1000", "deliveries")).collect();
    let day = |at: &Value| at.as_u64().unwrap() / 86_400_000_000;
    let today = day(&venue.ask(1, "/v1/models")["at_us"]);
    let (mut calls, mut fewer) = (0, 0);
    for days in [1, 2, 31] {
        let every = venue.ask(1, &format!("/v1/models/stats?days={days}"));
        for stats in every["models"].as_array().unwrap() {
            let model = stats["model"].as_str().unwrap();
            // Each is in the lists of both sides: the buyer's count.
            let own = all.iter().filter(|row| row["role"] == "buyer" && row["instrument"] == model);
            let own: Vec<&Value> = own.filter(|row| day(&row["at_us"]) + days > today).collect();
            let sum = |name: &str| own.iter().map(|row| row[name].as_u64().unwrap()).sum::<u64>();
            let ended = |how: &str| own.iter().filter(|row| row["outcome"] == how).count();
            assert_eq!(stats["calls"], own.len(), "{model} in {days} days");
            for name in ["input_tokens", "cached_input_tokens", "output_tokens"] {
                assert_eq!(stats[name], sum(name), "{model} in {days} days: {name}");
            }
            assert_eq!(stats["units"], sum("quantity"));
            assert_eq!(atoms(&stats["credits"]), own.iter().map(|row| atoms(&row["paid"])).sum::<i128>());
            for (how, ended) in [
                ("completed", ended("completed")),
                ("abandoned", ended("abandoned")),
                ("failed", ended("failed") + ended("overstated")),
            ] {
                assert_eq!(stats[how], ended, "{model} in {days} days: {how}");
            }
            check_delays(&stats["first_token_ms"], own.iter().filter_map(|row| row["latency_ms"].as_u64()).collect());
            let one = venue.ask(1, &format!("/v1/models/{model}/stats?days={days}"));
            assert_eq!(one["first_token_ms"], stats["first_token_ms"]);
            calls += own.len();
            fewer += usize::from(days == 1) * own.len();
        }
    }
    assert!(calls > 100 && fewer < calls / 3, "{calls} {fewer}");
}

/// Percentiles are those of the delays, told an eighth longer at most.
fn check_delays(told: &Value, mut delays: Vec<u64>) {
    delays.sort_unstable();
    assert_eq!(told["calls"], delays.len());
    for percent in [50, 90, 99] {
        let told = &told[format!("p{percent}")];
        match (delays.len() * percent).div_ceil(100).checked_sub(1).and_then(|at| delays.get(at)) {
            Some(exact) => {
                let told = told.as_u64().unwrap();
                assert!(told >= *exact && told <= exact + exact / 8, "p{percent}: {told} for {exact}");
            }
            None => assert!(told.is_null()),
        }
    }
}

#[test]
fn a_model_costs_what_its_best_ask_asks_and_promises_what_its_asks_promise() {
    let venue = Venue::new();
    let listed = venue.ask(1, "/v1/models");
    assert_eq!((&listed["object"], &listed["has_more"]), (&"list".into(), &false.into()));
    for model in listed["data"].as_array().unwrap() {
        let name = model["id"].as_str().unwrap();
        let one = venue.ask(1, &format!("/v1/models/{name}"));
        assert_eq!((&one["created"], &one["credits_per_unit"]), (&model["created"], &model["credits_per_unit"]));
        let asks = venue.ask(1, &format!("/v1/book/{name}?level=3&limit=100"))["asks"].as_array().unwrap().clone();
        assert!(!asks.is_empty());
        assert_eq!(model["credits_per_unit"], asks[0]["price"]);
        let promised = |name: &str| -> Vec<u64> {
            asks.iter().filter_map(|ask| ask[name].as_u64().filter(|promise| *promise > 0)).collect()
        };
        assert_eq!(model["latency_ms"].as_u64(), promised("latency_ms").into_iter().min());
        assert_eq!(model["throughput_tps"].as_u64(), promised("throughput_tps").into_iter().max());
        // A credit is $0.001, an input token a unit and an output token four.
        assert_eq!(atoms(&model["usd_per_million_input"]), atoms(&asks[0]["price"]) * 1_000_000);
        assert_eq!(atoms(&model["usd_per_million_output"]), 4 * atoms(&asks[0]["price"]) * 1_000_000);
        assert!(model["created_at"].as_str() < listed["at"].as_str());
    }
    assert!(matches!(
        venue.try_ask(1, "/v1/models/nothing"),
        Err(QueryError::NotFound { code: "model_not_found", .. })
    ));
}

/// Two models with two asks each, and one that nobody offers: (price, milliseconds, tokens a second, units).
const OFFERED: [[(u64, u32, u32, u64); 2]; 3] = [
    [(1_000_000, 400, 50, 500), (1_500_000, 100, 60, 500)],
    [(1_200_000, 200, 90, 500), (900_000, 900, 10, 20)],
    [(0, 0, 0, 0); 2],
];

/// Their views.
fn offered() -> Venue {
    let mut commands = vec![Command::OpenAccount];
    for (number, asks) in (1..).zip(OFFERED) {
        commands.push(Command::ListInstrument(Box::new(spec(number))));
        for (price, latency_ms, throughput_tps, units) in asks.into_iter().filter(|ask| ask.3 > 0) {
            let attributes = Attributes { latency_ms, throughput_tps, ..Attributes::default() };
            commands.push(Command::PlaceOrder(NewOrder {
                account: AccountId(1),
                key: KeyId(0),
                instrument: InstrumentId(number),
                client_id: None,
                limit: Some(Price(price)),
                quantity: Quantity(units),
                min_quantity: Quantity(0),
                time_in_force: TimeInForce::Gtc,
                post_only: false,
                cancel_on_disconnect: false,
                self_trade: SelfTrade::CancelNewest,
                terms: Terms::Ask { attributes },
            }));
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let views = Views::open(dir.path()).unwrap();
    let (mut fold, mut engine) = (Fold::new(&views).unwrap(), Engine::default());
    for (seq, command) in (1..).zip(commands) {
        let (at, mut events) = (Timestamp(1_700_000_000_000_000_000 + seq), Events::new());
        engine.apply(&Input { seq, at, command }, &mut events);
        assert!(!matches!(events.last(), Some(Event::Rejected(_))), "{events:?}");
        fold.apply(seq, at, &events).unwrap();
    }
    fold.flush().unwrap();
    drop(fold);
    Venue { views, _dir: dir }
}

#[test]
fn a_recommended_model_meets_every_limit_and_the_others_say_why_they_do_not() {
    let venue = offered();
    let answer = |limits: &str| venue.ask(1, &format!("/v1/models/recommend?input_tokens=10&output_tokens=5{limits}"));
    // 10 input tokens and 5 output tokens are 30 units; the cheapest ask of model-2 has fewer.
    let ranked = |limits: &str| -> Vec<(String, i128)> {
        let models = answer(limits)["models"].as_array().unwrap().clone();
        models.iter().map(|model| (model["model"].as_str().unwrap().to_owned(), atoms(&model["cost"]))).collect()
    };
    let cost = |price: i128, fee_bps: i128| 30 * price + 30 * price * fee_bps / 10_000;
    let [first, second] = [("model-1".to_owned(), cost(1_000_000, 20)), ("model-2".to_owned(), cost(1_200_000, 3))];
    assert_eq!(ranked(""), [first.clone(), second.clone()]);
    assert_eq!(ranked("&preference=price"), [first.clone(), second.clone()]);
    let quick = ("model-1".to_owned(), cost(1_500_000, 20));
    assert_eq!(ranked("&preference=latency"), [quick.clone(), second.clone()], "each by its quickest ask");
    assert_eq!(ranked("&preference=throughput"), [second.clone(), quick.clone()], "each by its widest ask");
    assert_eq!(ranked("&max_latency=300"), [second.clone(), quick.clone()]);
    assert_eq!(
        ranked("&min_throughput=50&max_price=0.00001"),
        std::slice::from_ref(&first),
        "a limit in dollars a unit"
    );
    let told = answer("");
    let model = &told["models"][0];
    assert_eq!(
        (&model["units"], &model["latency_ms"], &model["throughput_tps"]),
        (&30.into(), &400.into(), &50.into())
    );
    assert_eq!(atoms(&model["cost_usd"]), first.1, "a credit is $0.001");

    let reasons = |limits: &str| -> Vec<String> {
        let excluded = answer(limits)["excluded"].as_array().unwrap().clone();
        excluded.iter().map(|model| model["code"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(reasons(""), ["no_asks"]);
    assert_eq!(reasons("&max_price=0.00000001"), ["price", "price", "no_asks"]);
    assert_eq!(reasons("&max_price=0.00001"), ["capacity", "no_asks"], "what is cheap enough is too small");
    assert_eq!(reasons("&max_latency=150"), ["latency", "no_asks"]);
    assert_eq!(reasons("&min_throughput=80"), ["throughput", "no_asks"]);
    let large = venue.ask(1, "/v1/models/recommend?input_tokens=1001&output_tokens=0");
    assert_eq!(large["excluded"][2]["code"], "capacity", "no order is so large");
}
