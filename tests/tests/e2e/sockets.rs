//! The WebSocket: books that are those over REST, orders that are answered in order, own updates that are nobody else's,
//! ends that cancel what hangs on them.

use crate::support::eventually;
use crate::support::http::Api;
use crate::support::market::{ask, bid, list_model, open_account, open_buyer};
use crate::support::process::Gollem;
use crate::support::random::{Random, seed};
use crate::support::skipped;
use crate::support::socket::{Socket, kind};
use crate::support::venue::{MODEL, Venue};
use gollem_gateway::{ExchangeOptions, SocketLimits};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio_tungstenite::tungstenite::Message;

/// A book that is kept from messages: quantity and orders by price.
#[derive(Debug, Default)]
struct Book {
    seq: u64,
    sides: [BTreeMap<String, (u64, u64)>; 2],
}

impl Book {
    fn apply(&mut self, message: &Value) {
        if kind(message) == "snapshot" {
            self.sides = Default::default();
        } else {
            assert_eq!(message["prev"], self.seq, "no gap: {message}");
        }
        self.seq = message["seq"].as_u64().unwrap();
        for (side, levels) in self.sides.iter_mut().zip([&message["bids"], &message["asks"]]) {
            for level in levels.as_array().unwrap() {
                let (price, quantity, orders) = (&level[0], level[1].as_u64().unwrap(), level[2].as_u64().unwrap());
                let price = price.as_str().unwrap().to_owned();
                if orders > 0 {
                    side.insert(price, (quantity, orders));
                } else {
                    side.remove(&price);
                }
            }
        }
    }

    /// What REST shows, up to so many levels a side.
    fn of_rest(rest: &Value, depth: usize) -> [BTreeMap<String, (u64, u64)>; 2] {
        ["bids", "asks"].map(|side| {
            let levels = rest[side].as_array().unwrap().iter().take(depth);
            let level = |level: &Value| {
                let (quantity, orders) = (level["quantity"].as_u64().unwrap(), level["orders"].as_u64().unwrap());
                (level["price"].as_str().unwrap().to_owned(), (quantity, orders))
            };
            levels.map(level).collect()
        })
    }
}

fn subscribe(channel: &str, change: Value) -> Value {
    let mut request = json!({ "op": "subscribe", "id": channel, "channel": channel });
    for (name, value) in change.as_object().unwrap() {
        request[name] = value.clone();
    }
    request
}

fn place(id: u64, order: &Value) -> Value {
    json!({ "op": "place", "id": id, "order": order })
}

async fn trading() -> (Venue, crate::support::market::Trader, crate::support::market::Trader) {
    let venue = Venue::open().await;
    list_model(&venue.admin, MODEL, json!({})).await;
    let buyer = open_buyer(&venue.admin, "buyer", 1_000).await;
    let provider = open_account(&venue.admin, "provider", &["read", "provide"]).await;
    (venue, buyer, provider)
}

async fn open_orders(api: &Api) -> usize {
    api.get("/v1/orders?status=open").await.ok()["orders"].as_array().unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_book_kept_from_updates_is_the_one_over_rest_and_goes_on_after_a_restart() {
    let (venue, buyer, provider) = trading().await;
    let mut random = Random::new(seed());
    let mut reader = Socket::anyone(&venue.admin).await;
    let mut books = [10, 100].map(|depth| (depth, Book::default()));
    for (depth, _) in &books {
        reader.ok(&subscribe("book", json!({ "instrument": MODEL, "depth": depth }))).await;
    }
    let mut last = 0;
    for _ in 0..120 {
        let (price, quantity) = (10 * random.between(1, 60) as i64, random.between(1, 50));
        let (trader, order) = if random.between(0, 1) == 0 {
            (&buyer, bid(MODEL, price, quantity, json!({})))
        } else {
            (&provider, ask(MODEL, price, quantity, json!({})))
        };
        last = trader.api.post("/v1/orders", &order).await.ok()["seq"].as_u64().unwrap();
    }
    let rest = venue.admin.get(&format!("/v1/book/{MODEL}?level=2")).await.ok();
    assert!(rest["seq"].as_u64().unwrap() >= last);
    for (depth, book) in &mut books {
        let wanted = Book::of_rest(&rest, *depth);
        while book.sides != wanted {
            let message = reader.until("a book", |message| message["depth"] == *depth).await;
            book.apply(&message);
        }
        assert!(book.sides.iter().all(|side| side.len() <= *depth), "{depth}: {book:?}");
    }

    let venue = venue.reopen_for_real().await;
    let mut reader = Socket::anyone(&venue.admin).await;
    let begun = reader.ok(&subscribe("book", json!({ "instrument": MODEL, "from": 1 }))).await;
    assert_eq!(begun["resumed"], false, "what came before the restart is not kept");
    let mut book = Book::default();
    book.apply(&reader.until("a snapshot", |message| kind(message) == "snapshot").await);
    assert_eq!(book.sides, Book::of_rest(&rest, 100));
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_in_time_misses_nothing() {
    let (venue, _, provider) = trading().await;
    let mut first = Socket::anyone(&venue.admin).await;
    let begun = first.ok(&subscribe("trades", json!({ "instrument": MODEL }))).await;
    assert_eq!((begun["resumed"].clone(), begun["channel"].clone()), (json!(false), json!("trades")));
    first.ok(&subscribe("book", json!({ "instrument": MODEL, "depth": 10 }))).await;
    let snapshot = first.until("a snapshot", |message| kind(message) == "snapshot").await;
    drop(first);
    for price in 1..=5 {
        provider.place(&ask(MODEL, price * 1_000, 3, json!({}))).await;
    }
    let mut again = Socket::anyone(&venue.admin).await;
    let request = subscribe("book", json!({ "instrument": MODEL, "depth": 10, "from": snapshot["seq"] }));
    assert_eq!(again.ok(&request).await["resumed"], true);
    assert_eq!(again.error(&request).await.0, "already_subscribed");
    let mut book = Book::default();
    book.apply(&snapshot);
    while book.sides[1].len() < 5 {
        book.apply(&again.until("an update", |message| message["channel"] == "book").await);
    }
    let rest = venue.admin.get(&format!("/v1/book/{MODEL}?level=2")).await.ok();
    assert_eq!(book.sides, Book::of_rest(&rest, 10));
    let left = json!({ "op": "unsubscribe", "id": 2, "channel": "book", "instrument": MODEL, "depth": 10 });
    again.ok(&left).await;
    assert_eq!(again.error(&left).await.0, "not_subscribed");
    // Where REST is, a book may begin too.
    let request = subscribe("book", json!({ "instrument": MODEL, "depth": 10, "from": rest["seq"] }));
    assert_eq!(again.ok(&request).await["resumed"], true);
    provider.place(&ask(MODEL, 500, 3, json!({}))).await;
    let update = again.until("an update", |message| message["channel"] == "book").await;
    let (prev, seq, at) = (&update["prev"], &update["seq"], rest["seq"].as_u64());
    assert!(prev.as_u64() <= at && at < seq.as_u64(), "{update} goes on after {at:?}");
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_answered_in_order_while_many_are_under_way() {
    let (venue, buyer, provider) = trading().await;
    let mut socket = Socket::open(&provider.api).await;
    for id in 0..300 {
        let change = json!({ "client_order_id": format!("ask-{id}") });
        socket.send(&place(id, &ask(MODEL, 1_000 + 10 * id as i64, 10, change))).await;
        if id % 3 == 0 {
            socket.send(&place(1_000 + id, &ask(MODEL, 10, 10, json!({ "price": "0" })))).await;
        }
    }
    let mut ids = Vec::new();
    for id in 0..300 {
        let answer = socket.next().await.unwrap();
        assert_eq!((kind(&answer), &answer["id"]), ("reply", &json!(id)), "{answer}");
        assert_eq!(answer["result"]["status"], "open");
        ids.push(answer["result"]["id"].as_str().unwrap().to_owned());
        if id % 3 == 0 {
            let answer = socket.next().await.unwrap();
            assert_eq!((kind(&answer), &answer["id"]), ("error", &json!(1_000 + id)), "{answer}");
            assert_eq!(answer["error"]["param"], "price");
        }
    }
    let again = socket.ok(&place(1, &ask(MODEL, 1_000, 10, json!({ "client_order_id": "ask-0" })))).await;
    assert_eq!((&again["id"], &again["repeated"]), (&json!(ids[0]), &json!(true)));
    let twice = provider.api.post("/v1/orders", &ask(MODEL, 1_000, 10, json!({ "client_order_id": "ask-0" }))).await;
    assert_eq!(twice.ok()["id"], again["id"], "over REST it is the same order");

    let replaced = json!({ "op": "replace", "id": 2, "order_id": ids[0], "quantity": 4, "price": "0.00000900" });
    let replaced = socket.ok(&replaced).await;
    assert_eq!((&replaced["price"], &replaced["remaining"]), (&json!("0.00000900"), &json!(4)), "{replaced}");
    let mut taker = Socket::open(&buyer.api).await;
    let bought = taker.ok(&place(9, &bid(MODEL, 900, 4, json!({ "time_in_force": "ioc" })))).await;
    assert_eq!((&bought["status"], bought["fills"].as_array().unwrap().len()), (&json!("filled"), 1), "{bought}");
    let cancel = json!({ "op": "cancel", "id": 3, "order_id": ids[1] });
    let cancelled = socket.ok(&cancel).await;
    assert_eq!((&cancelled["status"], &cancelled["remaining"]), (&json!("canceled"), &json!(10)));
    assert_eq!(socket.error(&cancel).await.0, "order_not_found");
    let foreign = json!({ "op": "cancel", "id": 4, "order_id": ids[2] });
    assert_eq!(taker.error(&foreign).await.0, "order_not_found", "another's order");
    let all = socket.ok(&json!({ "op": "cancel_all", "id": 5, "instrument": MODEL, "side": "ask" })).await;
    assert_eq!(all["cancelled"], 298);
    assert_eq!(open_orders(&provider.api).await, 0);
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn own_orders_fills_and_balances_come_to_their_owner_alone() {
    let (venue, buyer, provider) = trading().await;
    // Open before anybody watches: its events name no owner.
    let early = provider.place(&ask(MODEL, 1_000, 10, json!({}))).await;
    let mut sockets = Vec::new();
    for trader in [&provider, &buyer] {
        let mut socket = Socket::open(&trader.api).await;
        for channel in ["orders", "fills", "balances"] {
            socket.ok(&subscribe(channel, json!({}))).await;
        }
        sockets.push(socket);
    }
    let stranger = open_account(&venue.admin, "stranger", &["read"]).await;
    let mut nothing = Socket::open(&stranger.api).await;
    for channel in ["orders", "fills"] {
        nothing.ok(&subscribe(channel, json!({}))).await;
    }
    let bought = buyer.place(&bid(MODEL, 1_000, 4, json!({ "client_order_id": "b" }))).await;
    let (mut seller, mut taker) = (sockets.remove(0), sockets.remove(0));
    let of = |channel: &'static str| move |message: &Value| kind(message) == "update" && message["channel"] == channel;
    let sold = seller.until("a fill", of("fills")).await["fills"][0].clone();
    assert_eq!((&sold["order"], &sold["liquidity"], &sold["side"]), (&json!(early), &json!("maker"), &json!("ask")));
    assert_eq!((&sold["quantity"], &sold["price"]), (&json!(4), &json!("0.00001000")));
    let fill = taker.until("a fill", of("fills")).await["fills"][0].clone();
    assert_eq!((&fill["order"], &fill["liquidity"], &fill["id"]), (&json!(bought), &json!("taker"), &sold["id"]));
    for (socket, trader, id) in [(&mut seller, &provider, early), (&mut taker, &buyer, bought)] {
        let orders = socket.until("an order", of("orders")).await["orders"].clone();
        assert_eq!(orders.as_array().unwrap().len(), 1, "{orders}");
        let rest = trader.order(&id).await;
        for field in ["id", "status", "filled", "remaining", "value", "updated_at_us", "quantity", "account"] {
            assert_eq!(orders[0][field], rest[field], "{field}: {orders} against {rest}");
        }
    }
    let balance = taker.until("a balance", of("balances")).await["balance"].clone();
    let rest = buyer.api.get("/v1/balance").await.ok();
    for field in ["available", "held", "escrow", "earned", "owed"] {
        assert_eq!(balance[field], rest[field], "{field}: {balance}");
    }
    // The stranger's next message is the answer to its own request, so nothing came before.
    nothing.send(&json!({ "op": "ping", "id": "last" })).await;
    assert_eq!(nothing.next().await.unwrap()["id"], "last");
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_opens_what_it_is_for_and_a_wrong_one_ends_the_socket() {
    let (venue, buyer, provider) = trading().await;
    assert_eq!(Socket::refused(&venue.admin, Some("sk-gollem-wrong")).await, 401);
    let mut anyone = Socket::anyone(&venue.admin).await;
    anyone.ok(&subscribe("ticker", json!({ "instrument": MODEL }))).await;
    for request in [
        subscribe("orders", json!({})),
        place(1, &bid(MODEL, 10, 1, json!({}))),
        json!({ "op": "cancel_all", "id": 2 }),
        json!({ "op": "cancel_on_disconnect", "id": 3, "enable": true }),
    ] {
        assert_eq!(anyone.error(&request).await.0, "invalid_api_key", "{request}");
    }
    let auth = json!({ "op": "auth", "id": 4, "key": buyer.api.key() });
    assert_eq!(anyone.ok(&auth).await, json!({ "account": buyer.id, "scopes": ["read", "trade"] }));
    assert_eq!(anyone.error(&auth).await.0, "already_authenticated");
    anyone.ok(&place(5, &bid(MODEL, 10, 1, json!({})))).await;
    assert_eq!(anyone.error(&place(6, &ask(MODEL, 10, 1, json!({})))).await.0, "insufficient_scope");
    let mut operator = Socket::open(&venue.admin).await;
    assert_eq!(operator.error(&subscribe("orders", json!({}))).await.0, "insufficient_scope");
    let reader = open_account(&venue.admin, "reader", &["read"]).await;
    let mut reader = Socket::open(&reader.api).await;
    reader.ok(&subscribe("balances", json!({}))).await;
    assert_eq!(reader.error(&json!({ "op": "cancel_all", "id": 7 })).await.0, "insufficient_scope");

    let mut guesser = Socket::anyone(&venue.admin).await;
    guesser.send(&json!({ "op": "auth", "id": 8, "key": provider.api.key().replace('-', "_") })).await;
    assert_eq!(guesser.next().await.unwrap()["error"]["code"], "invalid_api_key");
    assert_eq!(guesser.close_code().await, 1_008);
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_refused_by_name_and_the_socket_goes_on() {
    let (venue, buyer, _) = trading().await;
    let mut socket = Socket::open(&buyer.api).await;
    let cases = [
        (json!({ "op": "fly", "id": 1 }), "invalid_value", json!("op")),
        (json!({ "op": "ping", "id": 1, "x": 2 }), "invalid_value", json!("x")),
        (subscribe("books", json!({})), "invalid_value", json!("channel")),
        (subscribe("book", json!({})), "invalid_value", json!("instrument")),
        (subscribe("book", json!({ "instrument": "none" })), "model_not_found", json!("instrument")),
        (subscribe("book", json!({ "instrument": MODEL, "depth": 11 })), "invalid_value", json!("depth")),
        (subscribe("trades", json!({ "instrument": MODEL, "depth": 10 })), "invalid_value", json!("depth")),
        (subscribe("candles", json!({ "instrument": MODEL, "interval": "2m" })), "invalid_value", json!("interval")),
        (subscribe("fills", json!({ "instrument": MODEL })), "invalid_value", json!("instrument")),
        (json!({ "op": "place", "id": 1 }), "invalid_value", json!("order")),
        (place(1, &json!({ "instrument": MODEL, "side": "bid", "quantity": 1 })), "invalid_value", json!("price")),
        (json!({ "op": "cancel", "id": 1, "order_id": "17" }), "invalid_value", json!("order_id")),
        (json!({ "op": "cancel_after", "id": 1, "after_ms": 0 }), "invalid_value", json!("after_ms")),
        (json!({ "op": "auth", "id": 1 }), "already_authenticated", Value::Null),
    ];
    for (request, code, param) in cases {
        assert_eq!(socket.error(&request).await, (code.to_owned(), param), "{request}");
    }
    for (text, param) in [("", "body"), ("[1]", "body"), ("{\"op\":", "body"), ("{\"op\":\"ping\",\"id\":[]}", "id")] {
        socket.send_raw(Message::text(text)).await;
        let answer = socket.next().await.unwrap();
        assert_eq!((kind(&answer), &answer["id"], &answer["error"]["param"]), ("error", &Value::Null, &json!(param)));
    }
    socket.send_raw(Message::binary(vec![1, 2, 3])).await;
    assert_eq!(kind(&socket.next().await.unwrap()), "error");
    socket.ok(&json!({ "op": "ping" })).await;
    socket.send_raw(Message::text("x".repeat(4_097))).await;
    assert_eq!(socket.next().await, None, "too long a message ends it");
    let reply = venue.admin.get("/v1/ws").await;
    assert_eq!(reply.error(), (426, "upgrade_required".to_owned(), None));
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_sockets_or_requests_are_refused() {
    let limits = SocketLimits { in_all: 4, per_address: 3, per_account: 1 };
    let venue = Venue::open_with(|options| ExchangeOptions { sockets: limits, ..options }).await;
    let buyer = open_account(&venue.admin, "buyer", &["read"]).await;
    let mut first = Socket::open(&buyer.api).await;
    assert_eq!(Socket::refused(&buyer.api, Some(buyer.api.key())).await, 429, "a second of one account");
    let mut second = Socket::anyone(&venue.admin).await;
    let auth = json!({ "op": "auth", "id": 1, "key": buyer.api.key() });
    assert_eq!(second.error(&auth).await.0, "too_many");
    let _third = Socket::anyone(&venue.admin).await;
    assert_eq!(Socket::refused(&venue.admin, None).await, 429, "a fourth of one address");
    drop(second);
    eventually("the place is free again", async || Socket::try_open(&venue.admin, None).await.ok()).await;

    let mut refused = 0;
    for id in 0..200 {
        first.send(&json!({ "op": "ping", "id": id })).await;
    }
    for _ in 0..200 {
        let answer = first.next().await.unwrap();
        if kind(&answer) == "error" {
            assert_eq!(answer["error"]["code"], "rate_limit_exceeded");
            refused += 1;
        }
    }
    assert!((1..=100).contains(&refused), "{refused} of 200 at once were refused");
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_that_hang_on_a_socket_go_with_the_last_of_them() {
    let (venue, _, provider) = trading().await;
    let hanging = ask(MODEL, 1_000, 1, json!({ "cancel_on_disconnect": true }));
    let enable = json!({ "op": "cancel_on_disconnect", "id": 1, "enable": true });
    let (mut first, mut second) = (Socket::open(&provider.api).await, Socket::open(&provider.api).await);
    let enabled = first.ok(&enable).await;
    assert!(enabled["enabled"] == true && enabled["at_us"].is_u64(), "{enabled}");
    second.ok(&enable).await;
    first.ok(&place(2, &hanging)).await;
    provider.place(&hanging).await;
    provider.place(&ask(MODEL, 2_000, 1, json!({}))).await;
    drop(first);
    let sockets = async || {
        let metrics = venue.admin.get("/metrics").await.bytes;
        let text = String::from_utf8_lossy(&metrics).into_owned();
        text.lines().find_map(|line| line.strip_prefix("gollem_sockets ")).unwrap().parse::<usize>().unwrap()
    };
    eventually("the first is gone", async || (sockets().await == 1).then_some(())).await;
    assert_eq!(open_orders(&provider.api).await, 3, "the second keeps them alive");
    drop(second);
    eventually("those that hang on it are gone", async || (open_orders(&provider.api).await == 1).then_some(())).await;

    let mut third = Socket::open(&provider.api).await;
    third.ok(&enable).await;
    third.ok(&place(3, &hanging)).await;
    let disabled = third.ok(&json!({ "op": "cancel_on_disconnect", "id": 4, "enable": false })).await;
    assert_eq!(disabled, json!({ "at_us": null, "enabled": false }));
    drop(third);
    eventually("it is gone", async || (sockets().await == 0).then_some(())).await;
    assert_eq!(open_orders(&provider.api).await, 2, "its orders no longer hung on it");

    let mut fourth = Socket::open(&provider.api).await;
    fourth.ok(&json!({ "op": "cancel_after", "id": 5, "after_ms": 60_000 })).await;
    let cleared = fourth.ok(&json!({ "op": "cancel_after", "id": 6 })).await;
    assert_eq!(cleared["at_us"], Value::Null);
    fourth.ok(&json!({ "op": "cancel_after", "id": 7, "after_ms": 50 })).await;
    eventually("the dead man's orders are gone", async || (open_orders(&provider.api).await == 0).then_some(())).await;
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_answers_no_ping_is_gone_and_so_are_its_orders() {
    let hasty = |options| ExchangeOptions { ping_every: Duration::from_millis(300), ..options };
    let venue = Venue::open_with(hasty).await;
    list_model(&venue.admin, MODEL, json!({})).await;
    let provider = open_account(&venue.admin, "provider", &["read", "provide"]).await;
    let mut silent = Socket::open(&provider.api).await;
    silent.ok(&json!({ "op": "cancel_on_disconnect", "id": 1, "enable": true })).await;
    silent.ok(&place(2, &ask(MODEL, 1_000, 1, json!({ "cancel_on_disconnect": true })))).await;
    let mut lively = Socket::anyone(&venue.admin).await;
    lively.ok(&subscribe("ticker", json!({ "instrument": MODEL }))).await;
    // Who does not read does not answer pings; the other one reads.
    let reading = tokio::spawn(async move {
        while let Some(message) = lively.next().await {
            if message["ticker"]["best_ask"].is_null() && kind(&message) == "update" {
                return true;
            }
        }
        false
    });
    assert!(reading.await.unwrap(), "the lively one sees the silent one's order go");
    assert_eq!(open_orders(&provider.api).await, 0);
    assert_eq!(silent.close_code().await, 1_008);
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_tells_its_sockets_and_leaves_the_connection_timer_to_run() {
    let (venue, _, provider) = trading().await;
    let mut socket = Socket::open(&provider.api).await;
    socket.ok(&json!({ "op": "cancel_on_disconnect", "id": 1, "enable": true })).await;
    socket.ok(&place(2, &ask(MODEL, 1_000, 1, json!({ "cancel_on_disconnect": true })))).await;
    let mut idle = Socket::anyone(&venue.admin).await;
    let reading = tokio::spawn(async move {
        let told = socket.next().await.unwrap();
        (told, socket.close_code().await)
    });
    let venue = venue.reopen_for_real().await;
    let (told, code) = reading.await.unwrap();
    assert_eq!((told, code), (json!({ "type": "server_shutdown" }), 1_001));
    assert_eq!(idle.next().await, Some(json!({ "type": "server_shutdown" })));
    let provider = provider.at(venue.admin.base());
    assert_eq!(open_orders(&provider.api).await, 1, "who is back in time keeps its orders");
    venue.close().await;
}

/// A Python with the package `websockets`; where there is none, says so.
fn python() -> Option<String> {
    let python = std::env::var("GOLLEM_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let found = Command::new(&python).args(["-c", "import websockets"]).output();
    if found.is_ok_and(|found| found.status.success()) {
        return Some(python);
    }
    skipped(&format!("{python} lacks the package websockets (pip install websockets, or set GOLLEM_TEST_PYTHON)"));
    None
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_another_language_keeps_every_book_of_a_demo_and_ends_with_those_over_rest() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    // The whole trace takes a debug build minutes; much less is over before a client on a busy machine has begun.
    let requests = std::env::var("GOLLEM_DEMO_REQUESTS").unwrap_or_else(|_| "4000".to_owned());
    let arguments = ["demo", "--speed", "max", "--requests", &requests, "--listen", "127.0.0.1:0", "--data"];
    let mut gollem = Gollem::start(&data, &[&arguments[..], &[data.to_str().unwrap()]].concat()).await;
    let mut command = Command::new(python);
    command.arg(root().join("tests/clients/book.py")).args([gollem.base(), &seed().to_string()]);
    let mut client = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    gollem.process.line("  state hash").await;
    drop(client.stdin.take());
    let output = tokio::task::spawn_blocking(move || client.wait_with_output()).await.unwrap().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let number = |field: &str| told[field].as_u64().unwrap();
    assert_eq!(number("markets"), 15, "{told}");
    assert!(number("updates") > 100 && number("connections") >= 2 && number("resumed") > 0, "{told}");
    gollem.process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documentation_s_example_keeps_a_book() {
    let Some(python) = python() else { return };
    let page = std::fs::read_to_string(root().join("docs/websocket.md")).unwrap();
    let example = page.split("```python\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let (venue, _, provider) = trading().await;
    let url = format!("{}/v1/ws", venue.admin.base().replacen("http", "ws", 1));
    let mut command = Command::new(python);
    command.args(["-c", example, &url, MODEL]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut client = command.spawn().unwrap();
    let lines = std::io::BufRead::lines(std::io::BufReader::new(client.stdout.take().unwrap()));
    let (sender, mut told) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| drop(sender.send(line))));
    assert!(told.recv().await.expect("a snapshot").ends_with(" 0 0"));
    for price in [1_000, 2_000] {
        provider.place(&ask(MODEL, price, 1, json!({}))).await;
    }
    let mut last = String::new();
    while !last.ends_with(" 0 2") {
        last = told.recv().await.unwrap_or_else(|| panic!("it ended after {last:?}"));
    }
    venue.close().await;
    let output = tokio::task::spawn_blocking(move || client.wait_with_output()).await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("server_shutdown"), "it says why it ends");
}
