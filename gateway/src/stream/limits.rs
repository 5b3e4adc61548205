//! Every bound of the WebSocket API, each with the failure it prevents. `docs/websocket.md` lists them for clients.

use std::time::Duration;

/// Bytes of a message from a client: enough for an order. A larger one closes the socket.
pub(super) const MESSAGE_BYTES_MAX: usize = 4 * 1024;
/// Bytes read from a connection at once. Each socket holds a buffer of this size, idle ones too.
pub(super) const READ_BUFFER_BYTES: usize = 4 * 1024;
/// Bytes gathered before they are handed to the system. What is gathered beyond them is a batch at the most.
pub(super) const WRITE_BUFFER_BYTES: usize = 16 * 1024;
/// Bytes gathered for one socket before they are written. Beyond them comes one answer, or one channel's turn of
/// [`UPDATES_AT_ONCE`], at the most.
pub(super) const BATCH_BYTES_MAX: usize = 128 * 1024;
/// How long a batch may take to be written: a client that takes nothing for so long is gone.
pub(super) const WRITE_PATIENCE: Duration = Duration::from_secs(4);
/// Commands of one socket that wait for their answers; while there are so many its messages are left unread.
pub(super) const WINDOW: usize = 512;
/// Messages taken in a row before something is written.
pub(super) const MESSAGES_AT_ONCE: usize = 64;
/// Requests other than orders that a socket may make at once, and a second.
pub(super) const REQUESTS_BURST: f64 = 100.0;
/// See [`REQUESTS_BURST`].
pub(super) const REQUESTS_PER_SECOND: f64 = 50.0;
/// Subscriptions of one socket.
pub(super) const SUBSCRIPTIONS_MAX: usize = 256;
/// Bytes of an `id` that is text.
pub(super) const ID_BYTES_MAX: usize = 64;

/// Bytes of recent updates kept for one channel, for those who are late or come back.
pub(super) const RING_BYTES_MAX: usize = 512 * 1024;
/// Bytes of recent updates kept in all: beyond them each channel keeps its newest only.
pub(super) const RINGS_BYTES_MAX: usize = 256 * 1024 * 1024;
/// How long a channel without readers goes on, for those who come back.
pub(super) const LINGER: Duration = Duration::from_secs(60);
/// Book updates that may wait for a socket before they are merged into one.
pub(super) const CONFLATED_OVER: usize = 16;
/// Updates of one channel written before another's turn comes.
pub(super) const UPDATES_AT_ONCE: usize = 64;
/// Trades, fills or orders in one message.
pub(super) const ITEMS_MAX: usize = 64;
/// Changed levels, trades, fills and changed orders that gather before they are told, however many inputs became durable
/// together: no message grows beyond this but for what one input did.
pub(super) const GATHERED_MAX: usize = 2_048;
/// Events kept while an account's open orders are looked up, in all: beyond them the look-up is given up.
pub(super) const RECENT_EVENTS_MAX: usize = 100_000;

/// Time that one reader's update takes of a machine with two cores, about: to wake its task, to write, and for the system to deliver.
pub(super) const READER_COST: Duration = Duration::from_micros(10);
/// A rest shorter than this is none: going to sleep and waking up would take longer.
pub(super) const REST_MIN: Duration = Duration::from_micros(250);
/// The longest that updates are gathered for the readers' sake.
pub(super) const REST_MAX: Duration = Duration::from_millis(10);

/// How long inputs gather while no socket is open: nobody is told anything.
pub(super) const UNHEARD_REST: Duration = Duration::from_millis(2);

/// How long a subscription waits until the market data reflect what was durable when it was asked for.
pub(super) const POSITION_PATIENCE: Duration = Duration::from_secs(2);
/// How long a socket's end may take, its last message and the client's farewell.
pub(super) const FAREWELL_PATIENCE: Duration = Duration::from_secs(1);
/// How long answers may take at a stop.
pub(super) const LAST_ANSWERS_PATIENCE: Duration = Duration::from_secs(5);
/// A connection timer is renewed with every ping, and fires after so many of them.
pub(super) const CONNECTION_PINGS: u32 = 3;

/// How many sockets there may be.
#[derive(Clone, Copy, Debug)]
pub struct SocketLimits {
    /// In all.
    pub in_all: usize,
    /// Of one address.
    pub per_address: usize,
    /// Of one account.
    pub per_account: usize,
}

impl Default for SocketLimits {
    fn default() -> SocketLimits {
        SocketLimits { in_all: 10_000, per_address: 2_000, per_account: 64 }
    }
}
