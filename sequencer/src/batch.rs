//! Inputs on their way to disk, with what must not leave before they are there.

use crate::foresight::Foresight;
use crate::ingress::Reply;
use crate::port::Ports;
use crate::released::{Ack, Pool, Released};
use crate::stages::Sample;
use crate::watermark::Watermark;
use gollem_engine::{Engine, Input};
use gollem_journal::{EncodeError, Encoder, GROUP_BYTES_MAX, Group};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::oneshot;

/// Most commands sent together: they are answered together, so they belong to one group.
pub(crate) const TOGETHER_MAX: usize = 64;
/// Room that one message may need in a group: the largest command, with a record's header, so many times.
const ROOM_BYTES: usize = TOGETHER_MAX * (4_096 + 32);
const _: () = assert!(2 * ROOM_BYTES < GROUP_BYTES_MAX, "a group holds many messages");

/// A group of records, their events and the replies that wait for them. Events and replies come out
/// through [`Batch::release`] alone.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    group: Group,
    released: Released,
    waiting: Vec<Waiting>,
    samples: Vec<Sample>,
}

/// Who waits for `count` inputs from the one at place `first` on.
#[derive(Debug)]
struct Waiting {
    first: usize,
    count: usize,
    reply: Reply,
}

impl Batch {
    /// Encodes the input, applies it and keeps what came of it.
    ///
    /// # Errors
    /// When the journal cannot hold the command; nothing has changed then.
    #[inline]
    pub(crate) fn apply(
        &mut self,
        engine: &mut Engine,
        encoder: &mut Encoder,
        input: &Input,
    ) -> Result<(), EncodeError> {
        self.encode(encoder, input)?;
        self.execute(engine, input);
        Ok(())
    }

    /// The same, timed. `submitted` is when the command was sent, `taken` when it left the queue.
    pub(crate) fn apply_timed(
        &mut self,
        engine: &mut Engine,
        encoder: &mut Encoder,
        input: &Input,
        (submitted, taken): (Instant, Instant),
    ) -> Result<(), EncodeError> {
        let started = Instant::now();
        self.encode(encoder, input)?;
        let encoded = Instant::now();
        self.execute(engine, input);
        let (queue, encode) = (taken.saturating_duration_since(submitted), encoded - started);
        self.samples.push(Sample { submitted, queue, encode, apply: encoded.elapsed() });
        Ok(())
    }

    #[inline]
    fn encode(&mut self, encoder: &mut Encoder, input: &Input) -> Result<(), EncodeError> {
        let seq = encoder.push(&mut self.group, input.at.0, |bytes| input.command.encode(bytes))?;
        assert_eq!(seq, input.seq, "journal and engine count the same inputs");
        Ok(())
    }

    #[inline]
    fn execute(&mut self, engine: &mut Engine, input: &Input) {
        engine.apply(input, &mut self.released.events);
        self.released.add(input.seq, input.at);
    }

    /// Lets someone wait for the inputs from place `first` on.
    #[inline]
    pub(crate) fn await_from(&mut self, first: usize, reply: Reply) {
        let count = self.released.len() - first;
        if count == 0 {
            return; // Nothing could be encoded: the caller sees its reply dropped.
        }
        if let (Reply::Port(port), Some(last)) = (&reply, self.waiting.last_mut())
            && matches!(&last.reply, Reply::Port(before) if before == port)
            && last.first + last.count == first
        {
            last.count += count;
            return;
        }
        self.waiting.push(Waiting { first, count, reply });
    }

    /// Tells what the newest input did to who may know before it is durable.
    pub(crate) fn foretell(&self, engine: &Engine, to: oneshot::Sender<Foresight>) {
        if let Some((input, events)) = self.released.last() {
            drop(to.send(Foresight::new(engine, input.at, events)));
        }
    }

    /// Inputs so far.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.released.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.group.is_empty()
    }

    /// Whether the next message might not fit.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.group.bytes() + ROOM_BYTES > GROUP_BYTES_MAX
    }

    /// Closes the group for writing.
    pub(crate) fn seal(&mut self, encoder: &mut Encoder) {
        encoder.seal(&mut self.group);
    }

    /// Time and bytes of the input that was encoded last.
    pub(crate) fn last_record(&self) -> Option<(u64, &[u8])> {
        self.group.last_record()
    }

    /// The bytes to write.
    pub(crate) fn group(&mut self) -> &mut Group {
        &mut self.group
    }

    /// Empties the batch: answers whoever waits, and returns the inputs with their events.
    ///
    /// # Panics
    /// When the inputs are not durable.
    pub(crate) fn release(&mut self, proof: Watermark, pool: &mut Pool, ports: &Ports) -> Arc<Released> {
        assert!(proof.covers(self.group.last_seq()), "nothing leaves before its input is durable");
        self.group.clear();
        let released = pool.share(&mut self.released);
        for Waiting { first, count, reply } in self.waiting.drain(..) {
            let ack = Ack::new(&released, first, count);
            match reply {
                // A caller that stopped waiting loses nothing: the input is in the journal.
                Reply::Once(reply) | Reply::Twice(_, reply) => drop(reply.send(ack)),
                Reply::Port(port) => ports.answer(port, ack),
                Reply::Nobody => {}
            }
        }
        released
    }

    /// Takes the times of sampled commands out.
    pub(crate) fn samples(&mut self) -> std::vec::Drain<'_, Sample> {
        self.samples.drain(..)
    }
}
