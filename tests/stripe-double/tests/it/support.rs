//! A plain client, a webhook that keeps what it gets, and the steps that many tests begin with.

use gollem_stripe_double::{Double, Options};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::HeaderMap;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;

/// For whatever should happen soon.
pub(crate) const SOON: Duration = Duration::from_secs(20);

pub(crate) const KEY: &str = "sk_test_double";

pub(crate) fn start() -> Double {
    Double::start(Options::default()).unwrap()
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    /// The id of an object that was asked for without fault.
    pub(crate) fn id(&self) -> String {
        assert_eq!(self.status, 200, "{self:?}");
        self.body["id"].as_str().unwrap().to_owned()
    }

    pub(crate) fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }

    pub(crate) fn replayed(&self) -> bool {
        self.headers.contains_key("idempotent-replayed")
    }
}

/// A request to be made; `None` instead of an answer if the connection is closed without one.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    url: String,
    method: &'static str,
    body: String,
    headers: Vec<(&'static str, String)>,
}

pub(crate) fn post(double: &Double, path: &str, body: &str) -> Ask {
    let bearer = ("authorization", format!("Bearer {KEY}"));
    Ask { url: format!("{}{path}", double.url()), method: "POST", body: body.to_owned(), headers: vec![bearer] }
}

pub(crate) fn get(double: &Double, path: &str) -> Ask {
    Ask { method: "GET", ..post(double, path, "") }
}

impl Ask {
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.retain(|(other, _)| *other != name);
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(crate) fn key(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }

    pub(crate) fn account(self, account: &str) -> Self {
        self.header("stripe-account", account)
    }

    pub(crate) async fn send(self) -> Answer {
        self.try_send().await.unwrap()
    }

    pub(crate) async fn try_send(self) -> Option<Answer> {
        let mut request = Request::builder().method(self.method).uri(self.url);
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(Bytes::from(self.body))).unwrap();
        let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
        let (head, body) = client.request(request).await.ok()?.into_parts();
        let body = serde_json::from_slice(&body.collect().await.ok()?.to_bytes()).unwrap();
        Some(Answer { status: head.status.as_u16(), headers: head.headers, body })
    }
}

/// An intent of a new customer; returns the customer and it.
pub(crate) async fn intent(double: &Double, cents: i64) -> (String, String) {
    let customer = post(double, "/v1/customers", "email=ada%40example.com").send().await.id();
    let body = format!("amount={cents}&currency=usd&customer={customer}&setup_future_usage=off_session");
    let intent = post(double, "/v1/payment_intents", &body).send().await.id();
    (customer, intent)
}

/// The same, paid.
pub(crate) async fn paid(double: &Double, cents: i64) -> String {
    let (_, intent) = intent(double, cents).await;
    double.pay(&intent).unwrap();
    intent
}

/// A connected account that takes transfers.
pub(crate) async fn provider(double: &Double) -> String {
    let account =
        post(double, "/v1/accounts", "type=express&capabilities[transfers][requested]=true").send().await.id();
    double.onboard(&account).unwrap();
    account
}

pub(crate) async fn transfer(double: &Double, account: &str, cents: i64) -> Answer {
    let body = format!("amount={cents}&currency=usd&destination={account}&transfer_group=week_1&metadata[week]=1");
    post(double, "/v1/transfers", &body).send().await
}

/// What a webhook got.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) signature: String,
    pub(crate) body: Vec<u8>,
}

impl Received {
    pub(crate) fn event(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// A webhook that answers 500 to the first `failures` deliveries.
#[derive(Clone, Debug)]
pub(crate) struct Webhook {
    pub(crate) url: String,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Webhook {
    pub(crate) async fn start(failures: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/stripe", listener.local_addr().unwrap());
        let webhook = Self { url, received: Arc::default() };
        let received = Arc::clone(&webhook.received);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let received = Arc::clone(&received);
                let take = service_fn(move |request| take(Arc::clone(&received), request, failures));
                tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), take));
            }
        });
        webhook
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}

async fn take(
    received: Arc<Mutex<Vec<Received>>>,
    request: Request<Incoming>,
    failures: usize,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let signature = request.headers()["stripe-signature"].to_str().unwrap().to_owned();
    let body = request.into_body().collect().await?.to_bytes().to_vec();
    let mut received = received.lock().unwrap();
    received.push(Received { signature, body });
    let status = if received.len() <= failures { 500 } else { 200 };
    Ok(Response::builder().status(status).body(Full::default()).unwrap())
}
