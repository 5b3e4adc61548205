//! One channel of one market or account: a ring of its recent updates, each encoded once, and who reads it.
//!
//! A reader holds a cursor and nothing else, so a slow one costs no memory: while what it misses is in the ring it gets
//! that, book updates merged into one; when it is not, it is told to begin anew. A reader that comes back finds its place
//! by the sequence number of the last update it had.
//!
//! Invariant: sequence numbers ascend, and the `prev` of an update is the `seq` of the one before it.

use crate::stream::limits::{CONFLATED_OVER, LINGER, RING_BYTES_MAX, RINGS_BYTES_MAX, UPDATES_AT_ONCE};
use crate::stream::window::Changes;
use crate::stream::words;
use axum::extract::ws::Utf8Bytes;
use gollem_engine::{AccountId, InstrumentId};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;
use tokio::sync::Notify;

/// What can be subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    /// So many levels a side: the place in [`words::DEPTHS`].
    Book(InstrumentId, usize),
    Trades(InstrumentId),
    /// The place in `CANDLE_SECONDS`.
    Candles(InstrumentId, usize),
    Ticker(InstrumentId),
    Orders(AccountId),
    Fills(AccountId),
    Balances(AccountId),
}

/// What an update says.
#[derive(Debug)]
pub(super) enum Content {
    /// These levels have changed; the checksum is of the book after it.
    Levels(Changes, u32),
    /// All there is to know: an older update is worth nothing.
    State,
    /// Something that happened: none may be missed.
    Items,
}

/// An update, encoded.
#[derive(Debug)]
pub(super) struct Update {
    pub(super) prev: u64,
    pub(super) seq: u64,
    pub(super) text: Utf8Bytes,
    pub(super) content: Content,
}

impl Update {
    /// Bytes that it holds.
    fn bytes(&self) -> usize {
        let levels = if let Content::Levels(changes, _) = &self.content { changes.len() * LEVEL_BYTES } else { 0 };
        size_of::<Update>() + self.text.len() + levels
    }
}

/// A changed level in its tree, about.
const LEVEL_BYTES: usize = 64;

#[derive(Debug)]
struct Ring {
    /// Updates that are no longer there.
    gone: u64,
    updates: VecDeque<Arc<Update>>,
    bytes: usize,
    /// Of the newest update, or where the channel began.
    seq: u64,
}

/// The readers, by the numbers of their sockets.
#[derive(Debug)]
struct Readers {
    sockets: Vec<(u64, Arc<Notify>)>,
    left_at: Instant,
}

/// A channel.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) key: Key,
    /// Its name in messages: `"channel":"book","instrument":"m","depth":10`.
    pub(super) name: String,
    ring: RwLock<Ring>,
    readers: Mutex<Readers>,
    totals: Arc<Totals>,
}

/// Of all channels together.
#[derive(Debug, Default)]
pub(super) struct Totals {
    /// Bytes of recent updates.
    pub(super) held: AtomicUsize,
    /// Readers that were told of an update, since somebody last took the number.
    pub(super) woken: AtomicUsize,
}

/// The reader's place is no longer in the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lost;

impl Topic {
    /// A channel that begins after input `seq`.
    pub(super) fn new(key: Key, name: String, seq: u64, totals: Arc<Totals>) -> Topic {
        let ring = Ring { gone: 0, updates: VecDeque::new(), bytes: 0, seq };
        let readers = Readers { sockets: Vec::new(), left_at: Instant::now() };
        Topic { key, name, ring: RwLock::new(ring), readers: Mutex::new(readers), totals }
    }

    /// Adds an update of input `seq`; `encode` is told the number of the update before.
    pub(super) fn publish(&self, seq: u64, content: Content, encode: impl FnOnce(u64, &Content) -> String) {
        let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        let prev = ring.seq;
        let text = encode(prev, &content).into();
        let update = Update { prev, seq, text, content };
        let bytes = update.bytes();
        (ring.seq, ring.bytes) = (seq, ring.bytes + bytes);
        ring.updates.push_back(Arc::new(update));
        let mut held = self.totals.held.fetch_add(bytes, Ordering::Relaxed) + bytes;
        while ring.updates.len() > 1 && (ring.bytes > RING_BYTES_MAX || held > RINGS_BYTES_MAX) {
            let dropped = ring.updates.pop_front().map_or(0, |update| update.bytes());
            (ring.gone, ring.bytes) = (ring.gone + 1, ring.bytes - dropped);
            held = self.totals.held.fetch_sub(dropped, Ordering::Relaxed) - dropped;
        }
    }

    /// Wakes who waits for updates.
    pub(super) fn wake(&self) {
        let readers = self.readers();
        readers.sockets.iter().for_each(|(_, wake)| wake.notify_one());
        self.totals.woken.fetch_add(readers.sockets.len(), Ordering::Relaxed);
    }

    /// Adds a reader.
    pub(super) fn join(&self, socket: u64, wake: Arc<Notify>) {
        self.readers().sockets.push((socket, wake));
    }

    /// Removes a reader.
    pub(super) fn leave(&self, socket: u64) {
        let mut readers = self.readers();
        readers.sockets.retain(|(other, _)| *other != socket);
        readers.left_at = Instant::now();
    }

    /// Whether nobody has read it for a while. Who is about to join it holds it already.
    pub(super) fn is_idle(topic: &Arc<Topic>, now: Instant) -> bool {
        Arc::strong_count(topic) == 1 && now.saturating_duration_since(topic.readers().left_at) >= LINGER
    }

    /// The place after the newest update, and its number.
    pub(super) fn end(&self) -> (u64, u64) {
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        (ring.gone + ring.updates.len() as u64, ring.seq)
    }

    /// The place of a reader that has everything up to `seq`, if what comes after is all there.
    pub(super) fn place_after(&self, seq: u64) -> Option<u64> {
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        let began = ring.updates.front().map_or(ring.seq, |oldest| oldest.prev);
        let place = ring.updates.partition_point(|update| update.seq <= seq);
        (began <= seq).then(|| ring.gone + place as u64)
    }

    /// What comes at `place`, which moves on; a bounded part of it. Whether there is more.
    pub(super) fn read(&self, place: &mut u64, out: &mut Vec<Utf8Bytes>) -> Result<bool, Lost> {
        let waiting: Vec<Arc<Update>> = {
            let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
            let skipped = usize::try_from(place.checked_sub(ring.gone).ok_or(Lost)?).map_err(|_| Lost)?;
            ring.updates.iter().skip(skipped).cloned().collect()
        };
        let (Some(first), Some(last)) = (waiting.first(), waiting.last()) else { return Ok(false) };
        let mut taken = waiting.len();
        match &last.content {
            Content::Levels(_, checksum) if taken > CONFLATED_OVER => {
                out.push(words::book_update(&self.name, (first.prev, last.seq), *checksum, &merged(&waiting)).into());
            }
            Content::State => out.push(last.text.clone()),
            Content::Levels(..) | Content::Items => {
                taken = taken.min(UPDATES_AT_ONCE);
                out.extend(waiting.iter().take(taken).map(|update| update.text.clone()));
            }
        }
        *place += taken as u64;
        Ok(taken < waiting.len())
    }

    fn readers(&self) -> MutexGuard<'_, Readers> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        let ring = self.ring.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.totals.held.fetch_sub(ring.bytes, Ordering::Relaxed);
    }
}

/// The last that was said of each level.
fn merged(updates: &[Arc<Update>]) -> Changes {
    let mut all = Changes::new();
    for update in updates {
        if let Content::Levels(changes, _) = &update.content {
            all.extend(changes);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(key: Key) -> Topic {
        Topic::new(key, "\"channel\":\"x\"".to_owned(), 10, Arc::default())
    }

    fn publish(topic: &Topic, seq: u64, bytes: usize) {
        let text = |prev: u64, _: &Content| format!("{prev}-{seq} {}", "x".repeat(bytes));
        topic.publish(seq, Content::Items, text);
    }

    fn heads(out: &[Utf8Bytes]) -> Vec<String> {
        out.iter().map(|text| text.split(' ').next().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_reader_gets_each_update_once_and_in_order_from_its_place() {
        let topic = topic(Key::Trades(InstrumentId(1)));
        let (mut place, seq) = topic.end();
        assert_eq!(seq, 10);
        for seq in [11, 14, 15] {
            publish(&topic, seq, 0);
        }
        let mut out = Vec::new();
        assert_eq!(topic.read(&mut place, &mut out), Ok(false));
        assert_eq!(heads(&out), ["10-11", "11-14", "14-15"]);
        out.clear();
        assert_eq!(topic.read(&mut place, &mut out), Ok(false));
        assert!(out.is_empty());
    }

    #[test]
    fn who_comes_back_goes_on_where_it_was_unless_that_is_no_longer_there() {
        let topic = topic(Key::Trades(InstrumentId(1)));
        let after = |seq: u64| {
            let mut out = Vec::new();
            let mut place = topic.place_after(seq)?;
            topic.read(&mut place, &mut out).unwrap();
            Some(heads(&out))
        };
        assert_eq!(after(10), Some(vec![]));
        assert_eq!(after(9), None, "before the channel began");
        for seq in [12, 14] {
            publish(&topic, seq, 0);
        }
        assert_eq!(after(10).unwrap(), ["10-12", "12-14"]);
        assert_eq!(after(12).unwrap(), ["12-14"]);
        assert_eq!(after(13).unwrap(), ["12-14"], "a number of another channel");
        assert_eq!(after(14).unwrap(), [""; 0]);
        publish(&topic, 20, RING_BYTES_MAX);
        assert_eq!(after(12), None, "the ring holds the newest only");
        assert_eq!(after(14).unwrap(), ["14-20"]);
    }

    #[test]
    fn a_ring_is_bounded_and_a_reader_that_fell_out_of_it_is_told() {
        let topic = topic(Key::Trades(InstrumentId(1)));
        let (start, _) = topic.end();
        for seq in 11..1_011 {
            publish(&topic, seq, 4_096);
        }
        let held = topic.totals.held.load(Ordering::Relaxed);
        assert!(held <= RING_BYTES_MAX && held > RING_BYTES_MAX / 2, "{held}");
        let mut out = Vec::new();
        assert_eq!(topic.read(&mut start.clone(), &mut out), Err(Lost));
        let totals = Arc::clone(&topic.totals);
        drop(topic);
        assert_eq!(totals.held.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn of_states_only_the_last_is_told_and_of_items_each_a_few_at_a_time() {
        let state = topic(Key::Ticker(InstrumentId(1)));
        let items = topic(Key::Trades(InstrumentId(1)));
        let (mut place, _) = state.end();
        for seq in 11..=11 + UPDATES_AT_ONCE as u64 {
            state.publish(seq, Content::State, |_, _| format!("{seq}"));
            publish(&items, seq, 0);
        }
        let mut out = Vec::new();
        assert_eq!(state.read(&mut place.clone(), &mut out), Ok(false));
        assert_eq!(heads(&out), ["75"]);
        out.clear();
        assert_eq!(items.read(&mut place, &mut out), Ok(true));
        assert_eq!(out.len(), UPDATES_AT_ONCE);
        assert_eq!(items.read(&mut place, &mut out), Ok(false));
        assert_eq!(out.len(), UPDATES_AT_ONCE + 1);
    }
}
