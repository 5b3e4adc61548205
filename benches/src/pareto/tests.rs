//! Small books of every kind.

use super::*;
use gollem_engine::{Constraints, OrderId};

fn plan(case: Case, seed: u64) -> Plan {
    Plan { case, asks: 400, commands: 60, seed, clock: Duration::ZERO }
}

#[test]
fn every_book_is_measured_and_a_seed_gives_the_same_answers() {
    for case in Case::ALL {
        let hashes = |seed| -> Vec<(String, String, u64)> {
            let rows = plan(case, seed).measure().unwrap();
            rows.into_iter().map(|row| (row.workload, row.hash, row.trades)).collect()
        };
        let first = hashes(1);
        assert_eq!(first, hashes(1), "{case:?}");
        assert_ne!(first, hashes(2), "{case:?}");
        assert_eq!(first.len(), case.shares().len() * 8 + usize::from(case.posts_best()) * 2);
    }
}

#[test]
fn bids_trade_unless_the_book_is_made_of_misses() {
    for case in Case::ALL {
        for row in plan(case, 3).measure().unwrap().iter().filter(|row| row.kind == "match") {
            let misses = row.bids == "miss";
            assert_eq!(row.trades == 0, misses, "{row:?}");
            assert_eq!(row.quantity, row.trades * cases::WANTED);
            assert!((0 == row.feasible_per_million) == misses, "{row:?}");
        }
    }
}

#[test]
fn about_the_named_share_of_the_asks_is_feasible() {
    for case in [Case::Independent, Case::Anti, Case::Clustered, Case::Tiny] {
        let rows = Plan { asks: 20_000, ..plan(case, 5) }.measure().unwrap();
        for (bids, share) in [("10%", 100_000), ("1%", 10_000), ("0.1%", 1_000)] {
            let feasible = rows.iter().find(|row| row.bids == bids).unwrap().feasible_per_million;
            assert!((share / 2..share * 2).contains(&feasible), "{case:?} {bids}: {feasible}");
        }
    }
}

#[test]
fn another_answer_than_the_best_is_refused() {
    let mut random = Random::new(1);
    let asks: Vec<Ask> = (0..50).map(|number| Case::Independent.ask(&mut random, number)).collect();
    let mut exchange = Exchange::new(&asks).unwrap();
    let mut rows = Rows::of(exchange.engine());
    let bid = exchange.bid(Constraints::default(), Preference::Price);
    let best = exchange.engine().best_ask(&bid).unwrap();
    assert_eq!(rows.best(&bid), Some(best));
    rows.check_finds(exchange.engine(), &[bid]).unwrap();
    // The book loses its best ask; the rows still have it.
    exchange.cancel(exchange.place_of(best).unwrap()).unwrap();
    let error = rows.check_finds(exchange.engine(), &[bid]).unwrap_err().to_string();
    assert!(error.contains(&format!("{:?}", Some(OrderId(best.0)))), "{error}");
    assert!(rows.check_trades(&mut exchange, &[bid]).unwrap_err().to_string().contains("the best is"));
}

#[test]
fn a_refused_command_ends_the_run() {
    let mut exchange = Exchange::new(&[]).unwrap();
    let bad = Ask { ticks: 0, ..Case::Plain.ask(&mut Random::new(1), 0) };
    let error = exchange.post_and_cancel(bad).unwrap_err().to_string();
    assert!(error.contains("was refused: PriceOutOfRange"), "{error}");
}

#[test]
fn the_table_has_a_row_for_each_measurement() {
    let rows = plan(Case::Anti, 1).measure().unwrap();
    let table = table(&rows);
    assert!(table.starts_with("pareto-anti: 400 asks, seed 1\n"), "{table}");
    assert_eq!(table.lines().count(), rows.len() + 3);
}
