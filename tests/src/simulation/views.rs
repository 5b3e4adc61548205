//! The views of a run: RocksDB in memory, opened once a thread, because that takes longer than a run.

use gollem_projections::{Fold, StoreError, Views};

use super::truth::Told;

struct Pair {
    /// The node's.
    live: Views,
    /// Folded from the truth, to compare.
    again: Views,
}

thread_local! {
    static PAIR: Result<Pair, StoreError> = Views::in_memory().and_then(|live| Ok(Pair { live, again: Views::in_memory()? }));
}

/// Calls `body` with empty views, or without if they are not wanted.
pub(super) fn with<T>(wanted: bool, body: impl FnOnce(Option<&Views>) -> Result<T, String>) -> Result<T, String> {
    if !wanted {
        return body(None);
    }
    PAIR.with(|pair| {
        let Pair { live, again } = pair.as_ref().map_err(|error| format!("no views: {error}"))?;
        live.clear().and_then(|()| again.clear()).map_err(|error| error.to_string())?;
        body(Some(live))
    })
}

/// The views hold what folding all that happened gives, to the last byte.
pub(super) fn compare(views: Option<&Views>, told: &[Told]) -> Result<(), String> {
    let Some(live) = views else { return Ok(()) };
    PAIR.with(|pair| {
        let again = &pair.as_ref().map_err(|error| format!("no views: {error}"))?.again;
        let (live, again) =
            fold(again, told).and_then(|()| Ok((live.dump()?, again.dump()?))).map_err(|error| error.to_string())?;
        match live.iter().zip(&again).find(|(live, again)| live != again) {
            None if live.len() == again.len() => Ok(()),
            None => Err(format!("the views have {} rows, the replay's {}", live.len(), again.len())),
            Some(((family, key, _), _)) => Err(format!("the views' row {key:02x?} in {family} is not the replay's")),
        }
    })
}

fn fold(views: &Views, told: &[Told]) -> Result<(), StoreError> {
    let mut fold = Fold::new(views)?;
    for input in told {
        fold.apply(input.seq, input.at, &input.events)?;
    }
    fold.flush()
}
