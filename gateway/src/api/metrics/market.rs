//! The market and its money, as the views have them: depth, providers, credits. Read on a thread that may wait: a page
//! looks at every instrument, provider and balance, up to a bound.

use super::page::Page;
use crate::app::App;
use gollem_engine::{Breaker, Side};
use gollem_projections::words::{account_name, atoms_in_credits, credits_per_unit, side_name};
use gollem_projections::{Reader, StoreError};
use hdrhistogram::Histogram;

/// Instruments on a page, and providers' records; further ones are left out.
const SHOWN_MAX: usize = 1_000;
/// Levels a side that are counted.
const LEVELS_MAX: usize = 1_000;

/// Adds the market as it is now.
pub(super) fn write(page: &mut Page, app: &App) -> Result<(), StoreError> {
    let reader = app.view.store.read()?;
    depth(page, &reader)?;
    scorecards(page, app, &reader)?;
    credits(page, &reader)
}

fn depth(page: &mut Page, reader: &Reader<'_>) -> Result<(), StoreError> {
    let mut sides = Vec::new();
    for instrument in reader.instruments()?.into_iter().take(SHOWN_MAX) {
        for side in [Side::Bid, Side::Ask] {
            sides.push((instrument.spec.symbol, side, reader.levels(instrument.id, side, LEVELS_MAX)?));
        }
    }
    page.head("gollem_book_levels", "gauge", "Prices with open orders, at most 1000 counted.");
    for (symbol, side, levels) in &sides {
        page.sample("gollem_book_levels", &[("instrument", symbol.as_str()), ("side", side_name(*side))], levels.len());
    }
    page.head("gollem_book_units", "gauge", "Units of open orders on those levels.");
    for (symbol, side, levels) in &sides {
        let units: u128 = levels.iter().map(|level| u128::from(level.quantity.0)).sum();
        page.sample("gollem_book_units", &[("instrument", symbol.as_str()), ("side", side_name(*side))], units);
    }
    page.head("gollem_book_best_price_credits", "gauge", "Best price in credits a unit.");
    for (symbol, side, levels) in &sides {
        if let Some(best) = levels.first() {
            let labels = [("instrument", symbol.as_str()), ("side", side_name(*side))];
            page.sample("gollem_book_best_price_credits", &labels, credits_per_unit(best.price));
        }
    }
    Ok(())
}

fn scorecards(page: &mut Page, app: &App, reader: &Reader<'_>) -> Result<(), StoreError> {
    let rows = reader.all_scorecards(SHOWN_MAX)?;
    let symbol = |instrument| app.catalog.symbol(instrument);
    page.head("gollem_provider_breaker", "gauge", "Circuit breaker: 0 closed, 1 half-open, 2 open.");
    for (provider, instrument, row) in &rows {
        let labels = [("provider", &*account_name(*provider)), ("instrument", &*symbol(*instrument))];
        let state = match row.breaker {
            Breaker::Closed => 0,
            Breaker::HalfOpen { .. } => 1,
            Breaker::Open { .. } => 2,
        };
        page.sample("gollem_provider_breaker", &labels, state);
    }
    page.head("gollem_provider_deliveries_total", "counter", "Deliveries by how they ended.");
    for (provider, instrument, row) in &rows {
        let (provider, instrument) = (account_name(*provider), symbol(*instrument));
        let outcomes = [
            ("completed", row.completed),
            ("abandoned", row.abandoned),
            ("failed", row.failed),
            ("overstated", row.overstated),
        ];
        for (outcome, count) in outcomes {
            let labels = [("provider", &*provider), ("instrument", &*instrument), ("outcome", outcome)];
            page.sample("gollem_provider_deliveries_total", &labels, count);
        }
    }
    page.head(
        "gollem_provider_first_token_seconds",
        "gauge",
        "Time to the first token since the start, 95th percentile.",
    );
    for (provider, times) in app.provider_times.all() {
        let labels = [("provider", &*account_name(provider)), ("quantile", "0.95")];
        page.sample("gollem_provider_first_token_seconds", &labels, p95_seconds(&times));
    }
    Ok(())
}

fn p95_seconds(times_ms: &Histogram<u64>) -> f64 {
    times_ms.value_at_quantile(0.95) as f64 / 1e3
}

fn credits(page: &mut Page, reader: &Reader<'_>) -> Result<(), StoreError> {
    let totals = reader.totals()?;
    page.gauge("gollem_accounts", "Accounts with movements.", totals.accounts);
    page.head("gollem_credits", "gauge", "Credits of all accounts together, by what they are for.");
    for (kind, atoms) in [
        ("available", totals.available),
        ("held", totals.held),
        ("escrow", totals.escrow),
        ("earned", totals.earned),
        ("payout_pending", totals.payout_pending),
        ("owed", totals.owed),
    ] {
        page.sample("gollem_credits", &[("kind", kind)], atoms_in_credits(atoms));
    }
    Ok(())
}
