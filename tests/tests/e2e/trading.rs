//! Orders over the API beyond placing one: replaced, cancelled together, in batches, found again, and by a dead-man timer.

use crate::support::eventually;
use crate::support::http::Api;
use crate::support::market::{ask, bid, credits};
use crate::support::venue::{MODEL, Venue};
use hyper::Method;
use serde_json::{Value, json};

const NOWHERE: &str = "http://127.0.0.1:9/v1";

/// Ids of the open orders, newest first.
async fn open_orders(api: &Api) -> Vec<String> {
    let orders = api.get("/v1/orders?status=open").await.ok();
    orders["orders"].as_array().unwrap().iter().map(|order| order["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_order_has_its_new_price_and_quantity_and_trades_when_it_can() {
    let (venue, buyer, provider, offered) = Venue::trading(NOWHERE, 1_000).await;
    let order = buyer.place(&bid(MODEL, 500, 10, json!({}))).await;
    let path = format!("/v1/orders/{order}");
    let changed = buyer.api.put(&path, &json!({ "price": credits(600), "quantity": 8 })).await.ok();
    assert_eq!(
        (&changed["id"], &changed["price"], &changed["quantity"]),
        (&json!(order), &json!(credits(600)), &json!(8))
    );
    assert_eq!(buyer.balance().await.held, 4_800, "what it holds follows");
    let traded = buyer.api.put(&path, &json!({ "price": credits(1_000) })).await.ok();
    assert_eq!((traded["status"].as_str(), traded["fills"][0]["quantity"].as_u64()), (Some("filled"), Some(8)));
    let fills = buyer.api.get("/v1/fills").await.ok();
    assert_eq!(fills["fills"][0]["contract"], traded["fills"][0]["contract"]);
    let told = (&fills["fills"][0]["order"], &fills["fills"][0]["liquidity"], &fills["fills"][0]["side"]);
    assert_eq!(told, (&json!(order), &json!("taker"), &json!("bid")));
    assert_eq!(provider.api.get("/v1/fills").await.ok()["fills"][0]["liquidity"], "maker");

    for (api, id, body, expected) in [
        (&buyer.api, order.as_str(), json!({ "quantity": 9 }), (404, "order_not_found", "order")),
        (&buyer.api, &offered, json!({ "quantity": 9 }), (404, "order_not_found", "order")),
        (&provider.api, &offered, json!({}), (400, "invalid_value", "body")),
        (&provider.api, &offered, json!({ "quantity": 0 }), (400, "invalid_value", "quantity")),
        (&provider.api, &offered, json!({ "price": "-1" }), (400, "invalid_value", "price")),
        (&provider.api, &offered, json!({ "side": "bid" }), (400, "invalid_value", "side")),
        (&provider.api, "17", json!({ "quantity": 9 }), (400, "invalid_value", "order")),
    ] {
        let (status, code, param) = api.put(&format!("/v1/orders/{id}"), &body).await.error();
        assert_eq!((status, code.as_str(), param.as_deref().unwrap()), expected, "{body}");
    }
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_cancelled_together_by_instrument_and_side() {
    let (venue, buyer, provider, offered) = Venue::trading(NOWHERE, 1_000).await;
    crate::support::market::list_model(&venue.admin, "other", json!({})).await;
    for model in [MODEL, "other"] {
        for price in [100, 200] {
            buyer.place(&bid(model, price, 10, json!({}))).await;
        }
    }
    let cancelled =
        async |question: &str| buyer.api.delete(&format!("/v1/orders{question}")).await.ok()["cancelled"].clone();
    assert_eq!(cancelled("?side=ask").await, 0);
    assert_eq!(cancelled("?instrument=other&side=bid").await, 2);
    assert_eq!(open_orders(&buyer.api).await.len(), 2);
    assert_eq!(cancelled("").await, 2);
    assert_eq!((open_orders(&buyer.api).await.len(), buyer.balance().await.held), (0, 0));
    assert_eq!(open_orders(&provider.api).await, [offered], "nobody else's");
    for (question, param) in [("?instrument=x", "instrument"), ("?side=up", "side"), ("?colour=red", "colour")] {
        assert_eq!(buyer.api.delete(&format!("/v1/orders{question}")).await.error().2.as_deref(), Some(param));
    }
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_action_of_a_batch_has_its_own_outcome_in_order() {
    let (venue, buyer, _, _) = Venue::trading(NOWHERE, 1_000).await;
    let first = buyer.place(&bid(MODEL, 100, 10, json!({}))).await;
    let place = |price, change| json!({ "place": bid(MODEL, price, 10, change) });
    let actions = json!({ "actions": [
        place(300, json!({ "client_order_id": "mine" })),
        { "replace": { "order": first, "quantity": 5 } },
        place(400, json!({ "price": "1.5e-9" })),
        { "place": ask(MODEL, 400, 10, json!({})) },
        place(1_000, json!({})),
        { "cancel": { "order": "ord_7" } },
        { "cancel": { "order": first } },
        { "cancel": { "order": first } },
        place(300, json!({ "client_order_id": "mine" })),
        place(90_000_000, json!({ "quantity": 1_000_000_000_u64 })),
    ] });
    let answer = buyer.api.post("/v1/orders/batch", &actions).await.ok();
    let results = answer["results"].as_array().unwrap();
    let statuses: Vec<u64> = results.iter().map(|result| result["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [201, 200, 400, 403, 201, 404, 200, 404, 201, 400], "{answer:#}");
    assert_eq!((&results[1]["order"]["id"], &results[1]["order"]["quantity"]), (&json!(first), &json!(5)));
    assert_eq!(
        (&results[2]["error"]["param"], &results[3]["error"]["code"]),
        (&json!("price"), &json!("insufficient_scope"))
    );
    assert_eq!(results[4]["order"]["fills"][0]["quantity"], 10, "{answer:#}");
    assert_eq!(results[6]["order"]["status"], "canceled");
    assert_eq!(
        (&results[8]["order"]["id"], &results[8]["order"]["repeated"]),
        (&results[0]["order"]["id"], &json!(true))
    );
    assert_eq!(open_orders(&buyer.api).await, [results[0]["order"]["id"].as_str().unwrap()]);

    let many = |count| json!({ "actions": vec![json!({ "cancel": { "order": "ord_7" } }); count] });
    assert_eq!(buyer.api.post("/v1/orders/batch", &many(50)).await.ok()["results"].as_array().unwrap().len(), 50);
    for (body, param) in [
        (many(0), "actions"),
        (many(51), "actions"),
        (json!({ "actions": [{ "buy": {} }] }), "actions[0]"),
        (json!({ "actions": [{ "cancel": {} }] }), "order"),
        (json!({ "actions": [{ "cancel": { "order": 7 } }] }), "actions[0].cancel.order"),
    ] {
        let error = buyer.api.post("/v1/orders/batch", &body).await.error();
        assert_eq!((error.0, error.2.as_deref()), (400, Some(param)), "{body}");
    }
    // Fifty orders of the longest form fit.
    let long = bid(
        MODEL,
        100,
        10,
        json!({
            "client_order_id": "x".repeat(64), "max_latency_ms": 1_000_000, "min_throughput_tps": 1_000_000, "single": true,
            "gpus": ["h100", "h200", "b200", "a100", "l40s", "l4", "a10", "rtx4090", "mi300x", "tpu"],
            "regions": ["us", "eu", "uk", "ap", "sa", "me", "af"], "preference": { "price": 65535, "latency": 65535, "throughput": 65535 },
            "precisions": ["fp32", "bf16", "fp16", "fp8", "int8", "fp4", "int4"], "time_in_force": "ioc", "self_trade": "cancel_newest",
        }),
    );
    let body = json!({ "actions": vec![json!({ "place": long }); 50] });
    assert_eq!(buyer.api.post("/v1/orders/batch", &body).await.status, 200);
    let large = body.to_string() + &" ".repeat(64 * 1024);
    assert_eq!(buyer.api.send(Method::POST, "/v1/orders/batch", &[], large.into()).await.error().0, 413);
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_found_by_the_client_s_own_id_whatever_characters_it_has() {
    let (venue, buyer, provider, _) = Venue::trading(NOWHERE, 1_000).await;
    let id = "a/b c?d=ü&e";
    let order = buyer.place(&bid(MODEL, 100, 10, json!({ "client_order_id": id }))).await;
    let question = "/v1/orders?client_order_id=a%2Fb%20c%3Fd%3D%C3%BC%26e";
    let ids =
        |answer: &Value| answer["orders"].as_array().unwrap().iter().map(|row| row["id"].clone()).collect::<Vec<_>>();
    let found = buyer.api.get(question).await.ok();
    assert_eq!((ids(&found), &found["next_before"]), (vec![json!(order)], &Value::Null));
    assert!(ids(&provider.api.get(question).await.ok()).is_empty(), "another's is not found");
    assert!(ids(&buyer.api.get("/v1/orders?client_order_id=other").await.ok()).is_empty());
    buyer.api.delete(&format!("/v1/orders/{order}")).await.ok();
    assert_eq!(ids(&buyer.api.get(question).await.ok()).len(), 1);
    assert!(ids(&buyer.api.get(&format!("{question}&status=open")).await.ok()).is_empty());
    venue.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_of_an_account_that_falls_silent_are_cancelled_and_only_then() {
    let (venue, buyer, _, _) = Venue::trading(NOWHERE, 1_000).await;
    buyer.place(&bid(MODEL, 100, 10, json!({}))).await;
    let set = async |after: Value| buyer.api.post("/v1/orders/cancel-after", &json!({ "after_ms": after })).await;
    let far = set(json!(60_000)).await.ok();
    assert!(far["at_us"].as_u64() > Some(1_700_000_000_000_000) && far["at"].as_str().unwrap().ends_with('Z'), "{far}");
    let cleared = set(Value::Null).await.ok();
    assert_eq!((&cleared["at"], &cleared["at_us"], &cleared["after_ms"]), (&Value::Null, &Value::Null, &Value::Null));
    assert_eq!(open_orders(&buyer.api).await.len(), 1);
    set(json!(50)).await.ok();
    eventually("the timer fires", async || open_orders(&buyer.api).await.is_empty().then_some(())).await;
    let order = &buyer.api.get("/v1/orders").await.ok()["orders"][0];
    assert_eq!((order["status"].as_str(), order["reason"].as_str()), (Some("canceled"), Some("dead_man_timer")));
    for bad in [json!(0), json!(86_400_001), json!(u64::MAX), json!(-1), json!("1")] {
        assert_eq!(set(bad.clone()).await.error(), (400, "invalid_value".into(), Some("after_ms".into())), "{bad}");
    }
    // What is not said is not null: a forgotten field must not clear the timer.
    let forgotten = buyer.api.post("/v1/orders/cancel-after", &json!({})).await.error();
    assert_eq!(forgotten, (400, "invalid_value".into(), Some("after_ms".into())));
    venue.close().await;
}
