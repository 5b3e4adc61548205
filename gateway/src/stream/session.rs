//! One socket: a task that waits for its client, for answers and for updates, and writes.
//!
//! While it writes it does nothing else, so it never holds more than one batch; a client that does not take a batch in time
//! is gone. While as many commands as may be are unanswered it reads nothing, so the client has to wait.

use crate::app::App;
use crate::auth::{Account, Lasting, turned_away};
use crate::error::ApiError;
use crate::identity::Caller;
use crate::keys::Scopes;
use crate::route::{Access, Route};
use crate::stream::counted::route_like;
use crate::stream::limits::{
    BATCH_BYTES_MAX, FAREWELL_PATIENCE, LAST_ANSWERS_PATIENCE, MESSAGES_AT_ONCE, REQUESTS_BURST, REQUESTS_PER_SECOND,
    SUBSCRIPTIONS_MAX, WINDOW, WRITE_PATIENCE,
};
use crate::stream::market::Start;
use crate::stream::orders::{self, Answer};
use crate::stream::presence::{Presence, timer_json};
use crate::stream::request::{self, Auth, CancelOnDisconnect, Channel, Ping};
use crate::stream::sockets::Seat;
use crate::stream::topic::{Key, Topic};
use crate::stream::words;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code};
use axum::http::StatusCode;
use futures_util::{FutureExt, SinkExt, StreamExt};
use gollem_engine::AccountId;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::net::IpAddr;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

/// Why a socket ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The client left, or the connection broke.
    Left,
    /// It took nothing of what it was sent.
    Slow,
    /// It answered no ping.
    Silent,
    /// A key that is not, or no longer, good.
    BadKey,
    /// There will be no more market data.
    NoData,
    /// The exchange stops.
    Stopping,
}

/// Commands with a body of their own, by name.
type Trade = fn(&Arc<App>, Account, &[u8]) -> Result<Answer, ApiError>;

/// The commands that are answered in the order in which they were sent.
const TRADES: [(&str, Trade); 5] = [
    ("place", orders::place),
    ("replace", orders::replace),
    ("cancel", orders::cancel),
    ("cancel_all", orders::cancel_all),
    ("cancel_after", orders::cancel_after),
];

/// What who trades needs, one of them.
const TRADERS: Scopes = Scopes::TRADE.with(Scopes::PROVIDE);

/// A socket.
pub(super) struct Session {
    app: Arc<App>,
    socket: WebSocket,
    seat: Seat,
    /// Where it comes from.
    address: IpAddr,
    /// Who speaks over it.
    speaker: Option<Lasting>,
    wake: Arc<Notify>,
    subscriptions: BTreeMap<Key, (Arc<Topic>, u64)>,
    /// The subscription that was served last: the next one's turn is next.
    served: Option<Key>,
    answers: VecDeque<(Option<Value>, Answer)>,
    out: Vec<Utf8Bytes>,
    /// Whether anything came since the last ping.
    heard: bool,
    /// Whether its account's orders hang on it.
    keeps_alive: bool,
    requests: f64,
    requests_at: Instant,
}

impl Session {
    pub(super) fn new(
        app: Arc<App>,
        socket: WebSocket,
        seat: Seat,
        address: IpAddr,
        speaker: Option<Lasting>,
    ) -> Session {
        Session {
            app,
            socket,
            seat,
            address,
            speaker,
            wake: Arc::new(Notify::new()),
            subscriptions: BTreeMap::new(),
            served: None,
            answers: VecDeque::new(),
            out: Vec::new(),
            heard: true,
            keeps_alive: false,
            requests: REQUESTS_BURST,
            requests_at: Instant::now(),
        }
    }

    /// Serves the client until one of them leaves.
    pub(super) async fn run(mut self) {
        let end = match self.serve().await {
            Ok(()) => End::Left,
            Err(end) => end,
        };
        tracing::debug!(?end, "a socket ended");
        self.drop_subscriptions();
        if let (true, Some(account)) = (self.keeps_alive, self.account_id()) {
            Presence::lose(&self.app, account, end == End::Stopping);
        }
        self.farewell(end).await;
    }

    async fn serve(&mut self) -> Result<(), End> {
        let every = self.app.stream.ping_every;
        let mut pings = interval_at(Instant::now() + every, every);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stopping = self.app.stream.sockets.stopping();
        loop {
            let may_read = self.answers.len() < WINDOW;
            let mut updates = false;
            tokio::select! {
                () = stopped(&mut stopping) => return Err(End::Stopping),
                _ = pings.tick() => self.ping().await?,
                (id, answer) = next_answer(&mut self.answers) => self.tell(id.as_ref(), answer),
                () = self.wake.notified() => updates = true,
                message = self.socket.next(), if may_read => self.receive(message).await?,
            }
            if updates {
                self.take_updates();
            } else {
                self.take_what_is_there().await?;
            }
            self.write().await?;
        }
    }

    /// Takes messages and answers that need no waiting, so that many are written together.
    async fn take_what_is_there(&mut self) -> Result<(), End> {
        for _ in 0..MESSAGES_AT_ONCE {
            if self.answers.len() >= WINDOW || self.bytes() > BATCH_BYTES_MAX {
                break;
            }
            let Some(message) = self.socket.next().now_or_never() else { break };
            self.receive(message).await?;
        }
        while self.bytes() <= BATCH_BYTES_MAX
            && let Some((id, answer)) = next_answer(&mut self.answers).now_or_never()
        {
            self.tell(id.as_ref(), answer);
        }
        Ok(())
    }

    async fn receive(&mut self, message: Option<Result<Message, axum::Error>>) -> Result<(), End> {
        let Some(Ok(message)) = message else { return Err(End::Left) };
        self.heard = true;
        match message {
            Message::Text(text) => self.handle(text.as_bytes()).await,
            Message::Binary(_) => {
                let error = ApiError::invalid("body", "messages are text: a JSON object each");
                self.tell(None, Err(error));
                Ok(())
            }
            Message::Ping(_) | Message::Pong(_) => Ok(()),
            Message::Close(_) => Err(End::Left),
        }
    }

    async fn handle(&mut self, text: &[u8]) -> Result<(), End> {
        let head = match request::head(text) {
            Ok(head) => head,
            Err(error) => {
                let refused = self.count_request().and_then(|()| self.charge(None)).err();
                self.tell(None, Err(refused.unwrap_or(error)));
                return Ok(());
            }
        };
        let route = route_like(&head);
        if let Some((_, trade)) = TRADES.iter().find(|(name, _)| *name == head.op) {
            let answer = self.trader(route).and_then(|account| trade(&self.app, account, text));
            let answer = answer.unwrap_or_else(|error| Box::pin(std::future::ready(Err(error))));
            self.answers.push_back((head.id, answer));
            return Ok(());
        }
        let id = head.id.as_ref();
        if let Err(error) = self.count_request().and_then(|()| self.charge(route)) {
            self.tell(id, Err(error));
            return Ok(());
        }
        match head.op.as_str() {
            "ping" => {
                let pong = crate::api::parse::<Ping>(text).map(|_| json!({}));
                self.tell(id, pong);
            }
            "auth" => return self.authenticate(id, text),
            "subscribe" => self.subscribe(id, text).await,
            "unsubscribe" => {
                let answer = self.unsubscribe(text);
                self.tell(id, answer);
            }
            "cancel_on_disconnect" => match self.cancel_on_disconnect(text) {
                Ok(answer) => self.answers.push_back((head.id, answer)),
                Err(error) => self.tell(id, Err(error)),
            },
            _ => {
                let message = "op must be auth, ping, subscribe, unsubscribe, place, replace, cancel, cancel_all, \
                               cancel_after or cancel_on_disconnect";
                self.tell(id, Err(ApiError::invalid("op", message)));
            }
        }
        Ok(())
    }

    /// Counts a request other than an order, and refuses it when there were too many.
    fn count_request(&mut self) -> Result<(), ApiError> {
        let now = Instant::now();
        let passed = now.saturating_duration_since(self.requests_at).as_secs_f64();
        self.requests_at = now;
        self.requests = (self.requests + passed * REQUESTS_PER_SECOND).min(REQUESTS_BURST);
        if self.requests >= 1.0 {
            self.requests -= 1.0;
            return Ok(());
        }
        let message = format!("at most {REQUESTS_PER_SECOND} requests a second that are not orders");
        let status = StatusCode::TOO_MANY_REQUESTS;
        Err(ApiError::new(status, "rate_limit_error", "rate_limit_exceeded", message))
    }

    /// Takes what a request counts, as the REST route that is like it does: from its account's allowance, or from its address's
    /// where that route is anybody's. What is like no route counts where there is no key. Who calls, if the route asks it.
    fn charge(&self, route: Option<&Route>) -> Result<Option<Caller>, ApiError> {
        let weight = route.map_or(1, |route| route.weight);
        match route {
            Some(route @ Route { access: Access::Scoped(scopes), .. }) => {
                let called = self.caller(*scopes);
                let (speaker, caller) = called.map_err(|error| turned_away(&self.app, self.address, weight, error))?;
                speaker.charge(&self.app, &caller, route)?;
                return Ok(Some(caller));
            }
            None if self.speaker.is_some() => {}
            _ => {
                self.app.limiter.check_flood(self.address)?;
                self.app.limiter.charge_address(self.address, weight);
            }
        }
        Ok(None)
    }

    /// Whom the credential speaks for, if it still does and may do this.
    fn caller(&self, scopes: Scopes) -> Result<(&Lasting, Caller), ApiError> {
        let speaker = self.speaker.as_ref().ok_or_else(|| {
            let message =
                "no API key: send it in the headers of the upgrade, or {\"op\":\"auth\",\"key\":\"sk-gollem-…\"}";
            ApiError::new(StatusCode::UNAUTHORIZED, "invalid_request_error", "invalid_api_key", message)
        })?;
        Ok((speaker, speaker.caller(&self.app, scopes)?))
    }

    fn account(&self, scopes: Scopes) -> Result<Account, ApiError> {
        Account::of(&self.caller(scopes)?.1)
    }

    /// Who trades, once what the command counts is taken.
    fn trader(&self, route: Option<&Route>) -> Result<Account, ApiError> {
        match self.charge(route)? {
            Some(caller) => Account::of(&caller),
            None => self.account(TRADERS),
        }
    }

    fn account_id(&self) -> Option<AccountId> {
        self.seat.account()
    }

    /// `auth`: once, and a wrong key ends the socket, so that guessing costs a connection each time.
    fn authenticate(&mut self, id: Option<&Value>, text: &[u8]) -> Result<(), End> {
        if self.speaker.is_some() {
            let message = "this socket has its key already; open another for another key";
            let error = ApiError::new(StatusCode::CONFLICT, "invalid_request_error", "already_authenticated", message);
            self.tell(id, Err(error));
            return Ok(());
        }
        let key = match crate::api::parse::<Auth>(text) {
            Ok(Auth { key, .. }) => key,
            Err(error) => {
                self.tell(id, Err(error));
                return Ok(());
            }
        };
        let speaker = match Lasting::of_text(&self.app, &key, self.address) {
            Ok(speaker) => speaker,
            Err(error) => {
                self.tell(id, Err(error));
                return Err(End::BadKey);
            }
        };
        let caller = speaker.whose();
        if let Some(account) = caller.account
            && let Err(error) = self.seat.belongs_to(account)
        {
            self.tell(id, Err(error));
            return Ok(());
        }
        let account = caller.account.map(gollem_projections::words::account_name);
        self.speaker = Some(speaker);
        self.tell(id, Ok(json!({ "account": account, "scopes": caller.scopes.names() })));
        Ok(())
    }

    async fn subscribe(&mut self, id: Option<&Value>, text: &[u8]) {
        let app = Arc::clone(&self.app);
        let begun = match self.wanted(text) {
            Ok((key, from)) => app.stream.subscribe(&app, key, from).await.map(|start| (key, start)),
            Err(error) => Err(error),
        };
        match begun {
            Ok((key, Start { topic, place, seq, resumed, snapshot })) => {
                topic.join(self.seat.number, Arc::clone(&self.wake));
                let result = format!("{{{},\"seq\":{seq},\"resumed\":{resumed}}}", topic.name);
                let id = id.map_or(Value::Null, Clone::clone);
                self.out.push(format!("{{\"type\":\"reply\",\"id\":{id},\"result\":{result}}}").into());
                self.out.extend(snapshot.map(Utf8Bytes::from));
                self.subscriptions.insert(key, (topic, place));
                self.app.stream.sockets.figures.subscriptions.fetch_add(1, Ordering::Relaxed);
                // What was told since, or after where it goes on.
                self.wake.notify_one();
            }
            Err(error) => self.tell(id, Err(error)),
        }
    }

    fn wanted(&self, text: &[u8]) -> Result<(Key, Option<u64>), ApiError> {
        let request: Channel = crate::api::parse(text)?;
        let key = request.key(&self.app, || self.account(Scopes::READ))?;
        let conflict =
            |code, message: String| Err(ApiError::new(StatusCode::CONFLICT, "invalid_request_error", code, message));
        if self.subscriptions.contains_key(&key) {
            return conflict("already_subscribed", "this socket has that subscription already".to_owned());
        }
        if self.subscriptions.len() >= SUBSCRIPTIONS_MAX {
            return conflict("too_many", format!("at most {SUBSCRIPTIONS_MAX} subscriptions of one socket"));
        }
        Ok((key, request.from))
    }

    fn unsubscribe(&mut self, text: &[u8]) -> Result<Value, ApiError> {
        let request: Channel = crate::api::parse(text)?;
        if request.from.is_some() {
            return Err(ApiError::invalid("from", "from belongs to subscribe"));
        }
        let key = request.key(&self.app, || self.account(Scopes::READ))?;
        if self.end_subscription(key) {
            return Ok(json!({ "channel": request.channel, "instrument": request.instrument }));
        }
        Err(ApiError::not_found("channel", "not_subscribed", "this socket has no such subscription"))
    }

    fn end_subscription(&mut self, key: Key) -> bool {
        let Some((topic, _)) = self.subscriptions.remove(&key) else { return false };
        topic.leave(self.seat.number);
        self.app.stream.sockets.figures.subscriptions.fetch_sub(1, Ordering::Relaxed);
        true
    }

    fn drop_subscriptions(&mut self) {
        let keys: Vec<Key> = self.subscriptions.keys().copied().collect();
        for key in keys {
            self.end_subscription(key);
        }
    }

    /// `cancel_on_disconnect`: from now on the account's orders that asked for it hang on this socket, or no longer.
    fn cancel_on_disconnect(&mut self, text: &[u8]) -> Result<Answer, ApiError> {
        let CancelOnDisconnect { enable, .. } = crate::api::parse(text)?;
        let account = self.account(TRADERS)?.id;
        let presence = &self.app.stream.presence;
        let pending = match (self.keeps_alive, enable) {
            (false, true) => Some(presence.enter(&self.app, account)?),
            (true, false) => presence.leave(&self.app, account)?,
            (true, true) | (false, false) => None,
        };
        self.keeps_alive = enable;
        Ok(Box::pin(async move {
            let mut answer = match pending {
                Some(pending) => timer_json(pending.await?.events()),
                None => json!({}),
            };
            answer["enabled"] = enable.into();
            Ok(answer)
        }))
    }

    /// Asks the client for a sign of life; one that gave none since the last time is gone.
    async fn ping(&mut self) -> Result<(), End> {
        if self.app.stream.has_ended() {
            return Err(End::NoData);
        }
        if !std::mem::replace(&mut self.heard, false) {
            return Err(End::Silent);
        }
        if self.speaker.is_some()
            && let Err(error) = self.caller(Scopes::ALL)
        {
            self.tell(None, Err(error));
            return Err(End::BadKey);
        }
        if let (true, Some(account)) = (self.keeps_alive, self.account_id()) {
            self.app.stream.presence.renew(&self.app, account);
        }
        let sent = timeout(WRITE_PATIENCE, self.socket.send(Message::Ping(Default::default()))).await;
        sent.map_err(|_| End::Slow)?.map_err(|_| End::Left)
    }

    fn tell(&mut self, id: Option<&Value>, answer: Result<Value, ApiError>) {
        let text = match answer {
            Ok(result) => words::reply(id, &result),
            Err(error) => words::error(id, &error),
        };
        self.out.push(text.into());
    }

    /// Takes what the channels have, until a batch is full; then the rest comes after it is written.
    fn take_updates(&mut self) {
        let mut lost = Vec::new();
        let mut more = false;
        let mut bytes = self.bytes();
        for _ in 0..self.subscriptions.len() {
            if bytes > BATCH_BYTES_MAX {
                more = true;
                break;
            }
            let Some(key) = next_in_turn(&self.subscriptions, self.served) else { break };
            self.served = Some(key);
            let Some((topic, place)) = self.subscriptions.get_mut(&key) else { break };
            let first = self.out.len();
            match topic.read(place, &mut self.out) {
                Ok(left) => more |= left,
                Err(_) => lost.push(key),
            }
            bytes += self.out[first..].iter().map(|text| text.len()).sum::<usize>();
        }
        for key in lost {
            let name = self.subscriptions.get(&key).map(|(topic, _)| words::resync_required(&topic.name));
            self.out.extend(name.map(Utf8Bytes::from));
            self.end_subscription(key);
            self.app.stream.sockets.figures.resyncs.fetch_add(1, Ordering::Relaxed);
        }
        if more {
            self.wake.notify_one();
        }
    }

    /// Bytes that wait to be written.
    fn bytes(&self) -> usize {
        self.out.iter().map(|text| text.len()).sum()
    }

    /// Writes what has gathered. The client has to take it in time.
    async fn write(&mut self) -> Result<(), End> {
        if self.out.is_empty() {
            return Ok(());
        }
        let figures = &self.app.stream.sockets.figures;
        let bytes = self.bytes() as u64;
        let (socket, out) = (&mut self.socket, &mut self.out);
        figures.messages.fetch_add(out.len() as u64, Ordering::Relaxed);
        figures.hold(bytes);
        let sending = async {
            for text in out.drain(..) {
                socket.feed(Message::Text(text)).await?;
            }
            socket.flush().await
        };
        let sent = timeout(WRITE_PATIENCE, sending).await;
        figures.release(bytes);
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Left),
            Err(_) => {
                figures.slow.fetch_add(1, Ordering::Relaxed);
                Err(End::Slow)
            }
        }
    }

    /// The last words: at a stop answers that are still to come, then why the socket ends.
    async fn farewell(mut self, end: End) {
        let (code, reason) = match end {
            End::Left | End::Slow => return,
            End::Silent => (close_code::POLICY, "no answer to a ping"),
            End::BadKey => (close_code::POLICY, "invalid_api_key"),
            End::NoData => (close_code::ERROR, "market data stand still"),
            End::Stopping => (close_code::AWAY, "server_shutdown"),
        };
        if end == End::Stopping {
            let answers = async {
                while !self.answers.is_empty() {
                    let (id, answer) = next_answer(&mut self.answers).await;
                    self.tell(id.as_ref(), answer);
                }
            };
            // What has no answer by then may have taken effect: the client asks by its own ids.
            drop(timeout(LAST_ANSWERS_PATIENCE, answers).await);
            self.out.push("{\"type\":\"server_shutdown\"}".into());
        }
        let parting = async {
            self.write().await?;
            let close = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
            self.socket.send(close).await.map_err(|_| End::Left)?;
            // The client's own farewell; without waiting for it the system might throw away what was sent.
            while let Some(Ok(_)) = self.socket.next().await {}
            Ok::<(), End>(())
        };
        drop(timeout(FAREWELL_PATIENCE, parting).await);
    }
}

/// The key after `served`, after the last the first: however busy some channels are, each has its turn.
fn next_in_turn<T>(subscriptions: &BTreeMap<Key, T>, served: Option<Key>) -> Option<Key> {
    let after = served.and_then(|served| subscriptions.range((Bound::Excluded(served), Bound::Unbounded)).next());
    after.or_else(|| subscriptions.first_key_value()).map(|(key, _)| *key)
}

/// Ends when the exchange stops, or is gone.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    drop(stopping.wait_for(|stopping| *stopping).await);
}

/// The answer to the oldest command that has none, when it comes.
async fn next_answer(answers: &mut VecDeque<(Option<Value>, Answer)>) -> (Option<Value>, Result<Value, ApiError>) {
    let answer = poll_fn(|context| match answers.front_mut() {
        Some((_, answer)) => answer.as_mut().poll(context),
        None => Poll::Pending,
    });
    let answer = answer.await;
    let id = answers.pop_front().and_then(|(id, _)| id);
    (id, answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use gollem_engine::InstrumentId;

    #[test]
    fn every_subscription_has_its_turn_though_others_come_and_go() {
        let key = |number| Key::Trades(InstrumentId(number));
        let mut subscriptions: BTreeMap<Key, ()> = [1, 3, 5].map(|number| (key(number), ())).into();
        let mut served = None;
        let mut turn = |subscriptions: &BTreeMap<Key, ()>| {
            served = next_in_turn(subscriptions, served);
            served
        };
        assert_eq!([1, 3].map(|_| turn(&subscriptions)), [Some(key(1)), Some(key(3))]);
        subscriptions.remove(&key(3));
        subscriptions.insert(key(4), ());
        assert_eq!([4, 5, 1].map(|_| turn(&subscriptions)), [4, 5, 1].map(|number| Some(key(number))));
        subscriptions.clear();
        assert_eq!(turn(&subscriptions), None);
    }
}
