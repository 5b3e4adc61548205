//! A gateway that follows a script: it keeps orders like the real one, answers a resend with the first answer, and
//! misbehaves on demand.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard},
};

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use futures_util::stream;
use serde_json::{Value, json};

use crate::support::{Server, serve};

/// What happens to the next order instead of the ordinary answer.
#[derive(Debug, Clone)]
pub(crate) enum Mishap {
    /// 503 with `Retry-After`, nothing done.
    Overloaded,
    /// The order is taken, and the connection breaks before the answer is whole.
    AnswerLost,
    /// This status and message, nothing done.
    Refused(StatusCode, &'static str),
}

#[derive(Debug, Clone)]
pub(crate) struct FakeOrder {
    pub(crate) client_order_id: String,
    pub(crate) status: &'static str,
    pub(crate) remaining: u64,
    pub(crate) body: Value,
}

#[derive(Debug, Default)]
pub(crate) struct Book {
    /// Taken orders; the id of the first is `ord_0`.
    pub(crate) orders: Vec<FakeOrder>,
    /// Client order ids as they arrived, resends included.
    pub(crate) sent: Vec<String>,
    pub(crate) registered: Vec<Value>,
    pub(crate) mishaps: VecDeque<Mishap>,
    /// Every call without this key is answered 401.
    pub(crate) key: Option<&'static str>,
    /// Looks at orders.
    pub(crate) looks: u64,
    /// While set, every call is answered 503.
    pub(crate) away: bool,
    /// Calls that came while it was away.
    pub(crate) turned_away: u64,
    /// Bodies of the calls that set a deadline, the latest last.
    pub(crate) deadlines: Vec<Value>,
    /// Bodies of `POST /api/provider/status`.
    pub(crate) statuses: Vec<Value>,
    /// Somebody else's ask: its price in credits.
    pub(crate) rival: Option<&'static str>,
}

impl Book {
    pub(crate) fn open(&self) -> usize {
        self.orders.iter().filter(|order| order.status == "open").count()
    }
}

/// The gateway and its book.
pub(crate) struct FakeGateway {
    book: Arc<Mutex<Book>>,
    server: Server,
}

impl FakeGateway {
    pub(crate) async fn start() -> Self {
        let book = Arc::new(Mutex::new(Book { key: Some("sk-provider"), ..Book::default() }));
        let router = Router::new()
            .route("/v1/provider", put(register))
            .route("/v1/orders", post(place))
            .route("/v1/orders/cancel-after", post(cancel_after))
            .route("/v1/orders/{id}", get(look).put(replace).delete(cancel))
            .route("/v1/book/{model}", get(asks))
            .route("/v1/payouts", get(payouts))
            .route("/api/provider/status", post(provider_status))
            .with_state(Arc::clone(&book));
        FakeGateway { book, server: serve(router).await }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    pub(crate) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap()
    }
}

type Shared = State<Arc<Mutex<Book>>>;

fn error(status: StatusCode, message: &str) -> Response {
    let body = json!({"error": {"message": message, "type": "invalid_request_error", "param": null, "code": null}});
    (status, Json(body)).into_response()
}

fn overloaded() -> Response {
    let mut response = error(StatusCode::SERVICE_UNAVAILABLE, "overloaded");
    response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("0"));
    response
}

/// The answer to a call that may not or cannot be served now.
fn turned_away(book: &mut Book, headers: &HeaderMap) -> Option<Response> {
    let expected = book.key.map(|key| format!("Bearer {key}"));
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if given != expected.as_deref() {
        return Some(error(StatusCode::UNAUTHORIZED, "this key is not known here"));
    }
    book.turned_away += u64::from(book.away);
    book.away.then(overloaded)
}

async fn register(State(book): Shared, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    let mut book = book.lock().unwrap();
    turned_away(&mut book, &headers).unwrap_or_else(|| {
        book.registered.push(body);
        Json(json!({})).into_response()
    })
}

async fn place(State(book): Shared, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    let mut book = book.lock().unwrap();
    let client_order_id = body["client_order_id"].as_str().unwrap().to_owned();
    book.sent.push(client_order_id.clone());
    if let Some(response) = turned_away(&mut book, &headers) {
        return response;
    }
    let mishap = book.mishaps.pop_front();
    match mishap {
        Some(Mishap::Overloaded) => return overloaded(),
        Some(Mishap::Refused(status, message)) => return error(status, message),
        Some(Mishap::AnswerLost) | None => {}
    }
    let known = book.orders.iter().position(|order| order.client_order_id == client_order_id);
    let index = known.unwrap_or_else(|| {
        let remaining = body["quantity"].as_u64().unwrap();
        book.orders.push(FakeOrder { client_order_id, status: "open", remaining, body });
        book.orders.len() - 1
    });
    if mishap.is_some() {
        let broken = stream::iter([Ok("{\"id\":"), Err("the connection breaks")]);
        return (StatusCode::CREATED, Body::from_stream(broken)).into_response();
    }
    (StatusCode::CREATED, Json(view(index, &book.orders[index]))).into_response()
}

async fn look(State(book): Shared, headers: HeaderMap, Path(id): Path<String>) -> Response {
    let mut book = book.lock().unwrap();
    if let Some(response) = turned_away(&mut book, &headers) {
        return response;
    }
    book.looks += 1;
    match index(&id, &book) {
        Some(index) => Json(view(index, &book.orders[index])).into_response(),
        None => error(StatusCode::NOT_FOUND, "no such order"),
    }
}

async fn cancel(State(book): Shared, headers: HeaderMap, Path(id): Path<String>) -> Response {
    let mut book = book.lock().unwrap();
    if let Some(response) = turned_away(&mut book, &headers) {
        return response;
    }
    match index(&id, &book) {
        Some(index) if book.orders[index].status == "open" => {
            book.orders[index].status = "canceled";
            Json(view(index, &book.orders[index])).into_response()
        }
        Some(_) => error(StatusCode::CONFLICT, "the order is over"),
        None => error(StatusCode::NOT_FOUND, "no such order"),
    }
}

async fn replace(State(book): Shared, headers: HeaderMap, Path(id): Path<String>, Json(body): Json<Value>) -> Response {
    let mut book = book.lock().unwrap();
    if let Some(response) = turned_away(&mut book, &headers) {
        return response;
    }
    match index(&id, &book) {
        Some(index) if book.orders[index].status == "open" => {
            book.orders[index].body["price"] = body["price"].clone();
            Json(view(index, &book.orders[index])).into_response()
        }
        _ => error(StatusCode::CONFLICT, "the order is over"),
    }
}

async fn cancel_after(State(book): Shared, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    let mut book = book.lock().unwrap();
    turned_away(&mut book, &headers).unwrap_or_else(|| {
        book.deadlines.push(body);
        Json(json!({})).into_response()
    })
}

async fn provider_status(State(book): Shared, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    let mut book = book.lock().unwrap();
    turned_away(&mut book, &headers).unwrap_or_else(|| {
        book.statuses.push(body);
        Json(json!({})).into_response()
    })
}

/// The two best asks, each with its order; the rival's first if it is as good.
async fn asks(State(book): Shared) -> Response {
    let book = book.lock().unwrap();
    let open = book.orders.iter().enumerate().filter(|(_, order)| order.status == "open");
    let own = open.map(|(index, order)| (order.body["price"].as_str().unwrap().to_owned(), format!("ord_{index}")));
    let rival = book.rival.map(|price| (price.to_owned(), "ord_99".to_owned()));
    let mut asks: Vec<_> = rival.into_iter().chain(own).collect();
    asks.sort_by(|(one, _), (other, _)| one.cmp(other)); // All have as many digits.
    let asks: Vec<Value> = asks.iter().map(|(price, order)| json!({"order": order, "price": price})).collect();
    Json(json!({"asks": asks, "bids": []})).into_response()
}

async fn payouts(State(book): Shared, headers: HeaderMap) -> Response {
    let mut book = book.lock().unwrap();
    let answer = json!({"earned": "12.34500000", "eligible": false, "threshold_usd": "100.00"});
    turned_away(&mut book, &headers).unwrap_or_else(|| Json(answer).into_response())
}

fn index(id: &str, book: &Book) -> Option<usize> {
    id.strip_prefix("ord_")?.parse().ok().filter(|index| *index < book.orders.len())
}

fn view(index: usize, order: &FakeOrder) -> Value {
    json!({
        "id": format!("ord_{index}"),
        "client_order_id": order.client_order_id,
        "status": order.status,
        "remaining": order.remaining,
    })
}
