//! A pipeline with a publisher.

use super::market::Market;
use gollem_engine::Engine;
use gollem_projections::kafka::{Publisher, PublisherOptions};
use gollem_sequencer::{Feed, Options, Pinning, Sequencer, Status};
use std::path::{Path, PathBuf};

pub(crate) struct Exchange {
    pub(crate) sequencer: Sequencer,
    pub(crate) publisher: Publisher,
    pub(crate) market: Market,
}

pub(crate) fn journal(dir: &Path) -> PathBuf {
    dir.join("journal")
}

impl Exchange {
    /// Opens it in that folder, publishing to those brokers.
    pub(crate) fn open(dir: &Path, brokers: &str, seed: u64) -> Exchange {
        Exchange::open_with(dir, brokers, seed, Feed::new(1_024, 50_000))
    }

    /// The same with a feed of another size.
    pub(crate) fn open_with(
        dir: &Path,
        brokers: &str,
        seed: u64,
        (feed, reader): (Feed, crossbeam_channel::Receiver<std::sync::Arc<gollem_sequencer::Released>>),
    ) -> Exchange {
        let options = Options { pinning: Pinning::Off, ..Options::new(journal(dir)) };
        let sequencer = Sequencer::start(&options, 0, Some(feed), None).unwrap();
        let symbols = |engine: &Engine| engine.instruments().map(|(_, spec)| spec.symbol).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let symbols = runtime.block_on(sequencer.ingress().inspect(symbols)).unwrap();
        let options = PublisherOptions { brokers: brokers.to_owned(), replication: 1, symbols };
        let publisher = Publisher::start(options, reader, sequencer.status(), &journal(dir)).unwrap();
        Exchange { sequencer, publisher, market: Market::new(seed) }
    }

    /// Sends so many commands, many at once.
    pub(crate) fn play(&mut self, count: usize) {
        let ingress = self.sequencer.ingress();
        let mut left = count;
        while left > 0 {
            let burst = left.min(40);
            let sent: Vec<_> = (0..burst).map(|_| ingress.submit(self.market.next()).unwrap()).collect();
            sent.into_iter().for_each(|ack| self.market.learn(ack.wait().unwrap().events()));
            left -= burst;
        }
    }

    pub(crate) fn status(&self) -> Status {
        self.sequencer.status()
    }

    /// Whether everything is published.
    pub(crate) fn is_published(&self) -> bool {
        self.publisher.view().published_seq() >= self.status().durable_seq()
    }

    pub(crate) fn close(self) {
        self.sequencer.stop().unwrap();
        self.publisher.stop();
    }
}
