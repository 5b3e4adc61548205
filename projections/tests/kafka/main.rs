//! Publishing to a real Kafka and building views from it: nothing is missing and nothing comes twice, whoever is killed.
//!
//! Each test starts a broker of its own with scripts/kafka.sh. Where there is no Java or no Maven, a test prints
//! `skipped:` and why.

#[cfg(test)]
mod broker;
#[cfg(test)]
mod exchange;
#[cfg(test)]
mod expected;
#[cfg(test)]
mod killed;
#[cfg(test)]
#[path = "../views/market.rs"]
#[expect(dead_code, reason = "the tests of views use more of it")]
mod market;
#[cfg(test)]
mod partition;
#[cfg(test)]
mod projector;
#[cfg(test)]
mod published;
#[cfg(test)]
mod schemas;
#[cfg(test)]
mod server;
