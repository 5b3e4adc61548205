//! `/v1/ws`: market data, an account's own orders, fills and balances, and trading, over one WebSocket.
//!
//! ```text
//! durable batches -> MARKET DATA thread -> one ring of encoded updates a channel, shared by all readers
//!                                              | woken, each reads on from its place
//!                                          a task a socket <-> client
//!                                              | commands, many in flight, answered in order
//!                                          sequencer
//! ```
//!
//! Invariants: nothing is told that is not durable; a channel's updates chain by `prev` and `seq`; a socket holds a batch of
//! messages at the most, so a client that does not read costs a bounded amount and slows nobody down.
//!
//! | file | idea |
//! |---|---|
//! | `book`, `window` | levels and their checksum; the best of them that a channel shows |
//! | `topic` | a channel: its recent updates, its readers |
//! | `market`, `private` | what is known of instruments and of watched accounts, told through channels |
//! | `recent` | what happens while an account is looked up |
//! | `hub` | what sockets share; the thread |
//! | `session`, `request`, `orders` | one socket; what may be asked; trading |
//! | `counted` | what a request counts as |
//! | `presence` | cancel on disconnect |
//! | `sockets`, `limits` | how many there may be; every bound |
//! | `words` | messages as text |

mod book;
mod counted;
mod hub;
mod limits;
mod market;
mod orders;
mod presence;
mod private;
mod recent;
mod request;
mod session;
mod sockets;
mod topic;
mod window;
mod words;

use crate::app::App;
use crate::auth::{ClientAddress, Lasting};
use crate::error::ApiError;
use crate::server::Held;
use axum::Extension;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use session::Session;
use std::sync::Arc;

pub(crate) use hub::{Hub, MarketData};
pub use limits::SocketLimits;

/// `GET /v1/ws`: makes a WebSocket of the connection. A key in the headers speaks for the whole socket; without one the
/// first message may bring it. Any `Origin` may connect: no cookie is read, so a page can do nothing without a key.
pub(crate) async fn open(
    State(app): State<Arc<App>>,
    Extension(held): Extension<Held>,
    Extension(ClientAddress(address)): Extension<ClientAddress>,
    request: Request,
) -> Result<Response, ApiError> {
    let (mut parts, _) = request.into_parts();
    let Ok(upgrade) = WebSocketUpgrade::from_request_parts(&mut parts, &()).await else {
        return Ok(upgrade_required());
    };
    let speaker = Lasting::of_request(&app, &parts)?;
    let mut seat = app.stream.sockets.enter(address)?;
    if let Some(account) = speaker.as_ref().and_then(|speaker| speaker.whose().account) {
        seat.belongs_to(account)?;
    }
    let upgrade = upgrade
        .read_buffer_size(limits::READ_BUFFER_BYTES)
        .write_buffer_size(limits::WRITE_BUFFER_BYTES)
        .max_message_size(limits::MESSAGE_BYTES_MAX)
        .max_frame_size(limits::MESSAGE_BYTES_MAX);
    Ok(upgrade.on_upgrade(move |socket| async move {
        Session::new(app, socket, seat, address, speaker).run().await;
        drop(held);
    }))
}

/// 426: a request that does not ask for a WebSocket.
fn upgrade_required() -> Response {
    let message = "this route speaks WebSocket only: send Connection: Upgrade, Upgrade: websocket, \
                   Sec-WebSocket-Version: 13 and a Sec-WebSocket-Key";
    let status = StatusCode::UPGRADE_REQUIRED;
    let error = ApiError::new(status, "invalid_request_error", "upgrade_required", message);
    ([(header::UPGRADE, "websocket")], error).into_response()
}
