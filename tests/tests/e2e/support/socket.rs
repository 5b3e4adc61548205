//! A WebSocket client of the exchange.

use super::DEADLINE;
use super::http::Api;
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// An open socket, and what came while something else was waited for.
pub(crate) struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    waiting: Vec<Value>,
}

fn request(api: &Api, key: Option<&str>) -> Request {
    let url = format!("{}/v1/ws", api.base().replacen("http", "ws", 1));
    let mut request = url.into_client_request().unwrap();
    if let Some(key) = key {
        request.headers_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
    }
    request
}

impl Socket {
    /// A socket whose upgrade carries this key.
    pub(crate) async fn try_open(api: &Api, key: Option<&str>) -> Result<Socket, Error> {
        let opened = timeout(DEADLINE, connect_async(request(api, key))).await.expect("an upgrade is answered");
        opened.map(|(stream, _)| Socket { stream, waiting: Vec::new() })
    }

    /// A socket with the client's own key.
    pub(crate) async fn open(api: &Api) -> Socket {
        Socket::try_open(api, Some(api.key())).await.unwrap()
    }

    /// A socket without a key.
    pub(crate) async fn anyone(api: &Api) -> Socket {
        Socket::try_open(api, None).await.unwrap()
    }

    /// The HTTP status of a refused upgrade.
    pub(crate) async fn refused(api: &Api, key: Option<&str>) -> u16 {
        match Socket::try_open(api, key).await {
            Err(Error::Http(response)) => response.status().as_u16(),
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("it was accepted"),
        }
    }

    pub(crate) async fn send(&mut self, message: &Value) {
        self.send_raw(Message::text(message.to_string())).await;
    }

    pub(crate) async fn send_raw(&mut self, message: Message) {
        self.stream.send(message).await.unwrap();
    }

    /// The next message, or `None` when the socket was closed.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        if !self.waiting.is_empty() {
            return Some(self.waiting.remove(0));
        }
        loop {
            let message = timeout(DEADLINE, self.stream.next()).await.expect("something comes, or an end");
            match message {
                Some(Ok(Message::Text(text))) => return Some(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    /// The code with which the server closes the socket; messages before are passed over.
    pub(crate) async fn close_code(&mut self) -> u16 {
        loop {
            match timeout(DEADLINE, self.stream.next()).await.expect("an end comes") {
                Some(Ok(Message::Close(Some(frame)))) => return frame.code.into(),
                Some(Ok(_)) => {}
                other => panic!("closed without a word: {other:?}"),
            }
        }
    }

    /// Passes over messages until one fits; those before it stay for later.
    pub(crate) async fn until(&mut self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.waiting.iter().position(&fits) {
            return self.waiting.remove(at);
        }
        let mut waiting = std::mem::take(&mut self.waiting);
        loop {
            let message = self.next().await.unwrap_or_else(|| panic!("closed before {what}: {waiting:?}"));
            if fits(&message) {
                self.waiting = waiting;
                return message;
            }
            waiting.push(message);
        }
    }

    /// Sends a request and waits for its answer.
    pub(crate) async fn ask(&mut self, request: &Value) -> Value {
        self.send(request).await;
        let id = &request["id"];
        self.until("an answer", |message| matches!(kind(message), "reply" | "error") && message["id"] == *id).await
    }

    /// The result of a request that succeeds.
    pub(crate) async fn ok(&mut self, request: &Value) -> Value {
        let answer = self.ask(request).await;
        assert_eq!(kind(&answer), "reply", "{request}: {answer}");
        answer["result"].clone()
    }

    /// The code and the field of a request that fails.
    pub(crate) async fn error(&mut self, request: &Value) -> (String, Value) {
        let answer = self.ask(request).await;
        assert_eq!(kind(&answer), "error", "{request}: {answer}");
        let error = answer["error"].as_object().unwrap();
        let keys: Vec<&str> = error.keys().map(String::as_str).collect();
        assert_eq!(keys, ["message", "type", "param", "code"], "{answer}");
        (error["code"].as_str().unwrap().to_owned(), error["param"].clone())
    }
}

/// What kind of message it is.
pub(crate) fn kind(message: &Value) -> &str {
    message["type"].as_str().unwrap_or_else(|| panic!("no type: {message}"))
}
