//! Writing a snapshot.

use super::{CHUNK_BYTES_MAX, CHUNK_HEADER_BYTES, Header, MAGIC, Part, ROW_BYTES_MAX, VERSION, check};
use crate::{AccountId, Engine, InstrumentId, invariant};
use bincode::Encode;
use std::io::{self, Write};

impl Engine {
    /// Writes the whole state. The bytes are flushed, but whether they are durable is for the caller to see to.
    ///
    /// # Errors
    /// When writing fails.
    pub fn write_snapshot(&self, out: &mut impl Write) -> io::Result<()> {
        let mut chunks = Chunks::begin(out, VERSION)?;
        chunks.part(Part::Header, [self.header()])?;
        let accounts = (1..=self.ledger.len() as u32).map(AccountId); // ACCOUNTS_MAX fits.
        let accounts = accounts.filter_map(|account| self.ledger.account(account));
        chunks.part(Part::Accounts, accounts.clone().map(|account| account.balance))?;
        chunks.part(Part::Markets, self.markets.iter().map(|market| (market.spec(), market.state)))?;
        let markets = (1..).map(InstrumentId).zip(&self.markets);
        let waiting = markets.flat_map(|(id, market)| market.waiting.iter().map(move |order| (id, *order)));
        chunks.part(Part::Waiting, waiting)?;
        let orders = accounts.flat_map(|account| self.orders.of_account(&account.orders));
        chunks.part(Part::Orders, orders.filter_map(|slot| self.orders.row(slot as usize)))?;
        let contracts = self.markets.iter().flat_map(|market| self.contracts.of_market(&market.contracts));
        chunks.part(Part::Contracts, contracts)?;
        chunks.part(Part::Payouts, self.payouts.map())?;
        chunks.part(Part::Purchases, self.purchases.map())?;
        chunks.part(Part::Refunds, self.refunds.map())?;
        chunks.part(Part::Disputes, self.disputes.map())?;
        chunks.part(Part::Answers, self.answers.all())?;
        chunks.part(Part::Providers, self.providers.map())?;
        chunks.part(Part::Policies, self.policies.map())?;
        chunks.part(Part::Spending, self.spending.rows())?;
        chunks.part(Part::Keys, self.keys.map())?;
        chunks.part(Part::Timers, self.timers.map())?;
        chunks.part(Part::Locks, self.locks())?;
        chunks.part(Part::FailedRefunds, self.failed_refunds.map())?;
        chunks.end()
    }

    pub(super) fn header(&self) -> Header {
        let counts = [self.ledger.len(), self.markets.len(), self.orders.len(), self.contracts.len()];
        Header {
            state: self.state_hash(),
            last_seq: self.last_seq,
            last_at: self.last_at,
            order_serial: self.orders.serial,
            order_clock: self.orders.clock,
            contract_serial: self.contracts.serial,
            next_payout: self.next_payout,
            sweep_at: self.sweep_at,
            fees: self.ledger.fees(),
            external: self.ledger.external(),
            counts: counts.map(|count| count as u64),
        }
    }
}

/// Rows on their way into chunks.
pub(super) struct Chunks<'a, W> {
    out: &'a mut W,
    /// Of all bytes written.
    hasher: blake3::Hasher,
    /// The next chunk as far as it got, with room for what comes before its rows.
    chunk: Vec<u8>,
    rows: u32,
}

impl<'a, W: Write> Chunks<'a, W> {
    /// Writes what stands in front of the chunks.
    pub(super) fn begin(out: &'a mut W, version: u32) -> io::Result<Chunks<'a, W>> {
        let chunk = Vec::with_capacity(CHUNK_HEADER_BYTES + CHUNK_BYTES_MAX + size_of::<u64>());
        let mut chunks = Chunks { out, hasher: blake3::Hasher::new(), chunk, rows: 0 };
        chunks.write(&MAGIC)?;
        chunks.write(&version.to_le_bytes())?;
        chunks.chunk.resize(CHUNK_HEADER_BYTES, 0);
        Ok(chunks)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.out.write_all(bytes)
    }

    /// Writes all rows of a part.
    pub(super) fn part<R: Encode>(&mut self, part: Part, rows: impl IntoIterator<Item = R>) -> io::Result<()> {
        for row in rows {
            let before = self.chunk.len();
            let written = bincode::encode_into_std_write(&row, &mut self.chunk, bincode::config::legacy());
            invariant(written.ok(), "encoding into memory cannot fail");
            assert!(self.chunk.len() - before <= ROW_BYTES_MAX, "rows are small");
            self.rows += 1;
            if self.chunk.len() - CHUNK_HEADER_BYTES + ROW_BYTES_MAX > CHUNK_BYTES_MAX {
                self.end_chunk(part)?;
            }
        }
        if self.rows > 0 { self.end_chunk(part) } else { Ok(()) }
    }

    pub(super) fn end_chunk(&mut self, part: Part) -> io::Result<()> {
        let mut chunk = std::mem::take(&mut self.chunk);
        let length = (chunk.len() - CHUNK_HEADER_BYTES) as u32; // CHUNK_BYTES_MAX fits.
        chunk[0] = part as u8;
        chunk[1..5].copy_from_slice(&self.rows.to_le_bytes());
        chunk[5..CHUNK_HEADER_BYTES].copy_from_slice(&length.to_le_bytes());
        self.hasher.update(&chunk);
        let check = check(&self.hasher);
        self.hasher.update(&check);
        chunk.extend(check);
        self.out.write_all(&chunk)?; // At once: a chunk, a call.
        chunk.truncate(CHUNK_HEADER_BYTES);
        (self.chunk, self.rows) = (chunk, 0);
        Ok(())
    }

    /// Writes the last chunk.
    pub(super) fn end(mut self) -> io::Result<()> {
        self.end_chunk(Part::End)?;
        self.out.flush()
    }
}
