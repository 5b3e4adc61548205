//! What connections cost that do nothing: each asks once and then stays open.

use super::http::Connection;
use super::venue::Venue;
use anyhow::{Context, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors of this program beside its connections.
const RESERVED: u64 = 256;

/// Connections that were held and what the exchange grew by, in bytes.
///
/// # Errors
/// When the system gives this program too few descriptors, or the exchange refuses a connection.
pub(super) fn measure(venue: &Venue, connections: usize) -> anyhow::Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
        .context("raising the limit of descriptors")?;
    let allowed = limit.maximum.unwrap_or(u64::MAX);
    let wanted = connections as u64 + RESERVED;
    ensure!(allowed >= wanted, "{connections} connections need {wanted} descriptors; the system allows {allowed}");
    let before = venue.resident_bytes()?;
    let mut open = Vec::with_capacity(connections);
    for _ in 0..connections {
        let mut connection = Connection::open(venue.address, None)?;
        let status = connection.ask("GET", "/health", "")?.status;
        ensure!(status == 200, "GET /health: {status}");
        open.push(connection.into_stream());
    }
    Ok(venue.resident_bytes()?.saturating_sub(before))
}
