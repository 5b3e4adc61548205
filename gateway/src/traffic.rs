//! What is counted of every request: how many, how they ended, how long until their answer began. And its id, which the
//! answer carries as `x-request-id` and a debug line names.
//!
//! Neither headers nor bodies are looked at, but for an id that the client gave.

use crate::inference::Arrived;
use crate::routes::ROUTES;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use hdrhistogram::{CreationError, Histogram};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Milliseconds until the answer began, rounded up.
const PROCESSING_TIME: HeaderName = HeaderName::from_static("x-processing-time");
/// The id of a request, for support and logs.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest id taken over from a client, in bytes.
const CLIENT_ID_BYTES_MAX: usize = 64;
/// Longest time told apart, in microseconds.
const TIME_US_MAX: u64 = 600_000_000;

/// Requests so far, by their place in [`ROUTES`].
#[derive(Debug)]
pub(crate) struct Traffic {
    routes: Vec<Counted>,
    unknown: AtomicU64,
    in_flight: AtomicU64,
    ids: Ids,
}

/// What is known of one route's requests.
#[derive(Debug)]
struct Counted {
    /// 1xx to 5xx.
    by_class: [AtomicU64; 5],
    /// Until the answer began, in microseconds.
    times_us: Mutex<Histogram<u64>>,
}

/// One route's figures at a time.
#[derive(Debug)]
pub(crate) struct RouteFigures {
    pub(crate) method: String,
    pub(crate) path: &'static str,
    /// 1xx to 5xx.
    pub(crate) by_class: [u64; 5],
    /// Until the answer began, in microseconds.
    pub(crate) times_us: Histogram<u64>,
}

impl Traffic {
    /// # Errors
    /// When a histogram of two digits cannot be made.
    pub(crate) fn new() -> Result<Traffic, CreationError> {
        let empty = Histogram::new_with_max(TIME_US_MAX, 2)?;
        let counted = |_| Counted { by_class: Default::default(), times_us: Mutex::new(empty.clone()) };
        let routes = (0..ROUTES.len()).map(counted).collect();
        Ok(Traffic { routes, unknown: AtomicU64::new(0), in_flight: AtomicU64::new(0), ids: Ids::new() })
    }

    /// Requests to routes that there are not.
    pub(crate) fn unknown(&self) -> u64 {
        self.unknown.load(Ordering::Relaxed)
    }

    /// Counts a request to a route that there is not.
    pub(crate) fn count_unknown(&self) {
        self.unknown.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests whose answer has not begun.
    pub(crate) fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// The figures of the routes that were asked for.
    pub(crate) fn figures(&self) -> Vec<RouteFigures> {
        let figures = ROUTES.iter().zip(&self.routes).map(|(route, counted)| RouteFigures {
            method: route.method.to_string(),
            path: route.path,
            by_class: counted.by_class.each_ref().map(|count| count.load(Ordering::Relaxed)),
            times_us: counted.times_us.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        });
        figures.filter(|figures| figures.by_class.iter().any(|count| *count > 0)).collect()
    }

    fn count(&self, route: usize, status: u16, took: Duration) {
        let Some(counted) = self.routes.get(route) else { return };
        if let Some(count) = counted.by_class.get(usize::from(status / 100).saturating_sub(1)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        counted.times_us.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(micros(took));
    }
}

/// Counts a request of the route with that place in the table, and gives it its id.
pub(crate) async fn measure(traffic: Arc<Traffic>, route: usize, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    request.extensions_mut().insert(Arrived(started));
    let id = given_id(&request).unwrap_or_else(|| traffic.ids.next());
    let waiting = Waiting::of(&traffic.in_flight);
    let mut response = next.run(request).await;
    drop(waiting);
    let (status, took) = (response.status().as_u16(), started.elapsed());
    traffic.count(route, status, took);
    let (method, path) = (&ROUTES[route].method, ROUTES[route].path);
    tracing::debug!(%method, route = path, status, us = micros(took), id = id.to_str().unwrap_or_default(), "request");
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    headers.insert(PROCESSING_TIME, HeaderValue::from(micros(took).div_ceil(1_000)));
    response
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// The client's own id, if it is short and of characters that a log can hold.
fn given_id(request: &Request) -> Option<HeaderValue> {
    let given = request.headers().get(REQUEST_ID)?;
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte);
    let fits = (1..=CLIENT_ID_BYTES_MAX).contains(&given.len()) && given.as_bytes().iter().all(plain);
    fits.then(|| given.clone())
}

/// Counts as in flight until it is dropped, also when the client leaves.
struct Waiting<'a>(&'a AtomicU64);

impl<'a> Waiting<'a> {
    fn of(count: &'a AtomicU64) -> Waiting<'a> {
        count.fetch_add(1, Ordering::Relaxed);
        Waiting(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Ids that no other start of the exchange gives: the second it was started in, and a count.
#[derive(Debug)]
struct Ids {
    start: u32,
    given: AtomicU64,
}

impl Ids {
    fn new() -> Ids {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Ids { start: (since_epoch.as_secs() & u64::from(u32::MAX)) as u32, given: AtomicU64::new(0) }
    }

    fn next(&self) -> HeaderValue {
        let count = self.given.fetch_add(1, Ordering::Relaxed);
        let text = format!("req_{:08x}{count:010x}", self.start);
        HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("req_"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    fn with_id(id: &str) -> Option<HeaderValue> {
        given_id(&Request::builder().header(REQUEST_ID, id).body(Body::empty()).unwrap())
    }

    #[test]
    fn a_clients_id_is_taken_over_when_a_log_can_hold_it() {
        assert_eq!(with_id("4bf9-2f35:a.b_c").unwrap(), "4bf9-2f35:a.b_c");
        assert_eq!(with_id(&"a".repeat(64)).unwrap().len(), 64);
        for bad in ["", "two words", "semi;colon", "\u{e4}", &"a".repeat(65)] {
            assert_eq!(with_id(bad), None, "{bad}");
        }
    }

    #[test]
    fn ids_differ() {
        let ids = Ids::new();
        let (first, second) = (ids.next(), ids.next());
        assert_ne!(first, second);
        assert_eq!(first.len(), "req_".len() + 18);
    }

    #[test]
    fn a_request_counts_for_its_route_and_the_class_of_its_status() {
        let traffic = Traffic::new().unwrap();
        traffic.count(1, 200, Duration::from_micros(40));
        traffic.count(1, 404, Duration::from_micros(50));
        traffic.count(ROUTES.len(), 200, Duration::ZERO);
        let figures = traffic.figures();
        assert_eq!(figures.len(), 1, "only what was asked for");
        assert_eq!((figures[0].path, figures[0].by_class), (ROUTES[1].path, [0, 1, 0, 1, 0]));
        assert_eq!((figures[0].times_us.len(), figures[0].times_us.max()), (2, 50));
    }
}
