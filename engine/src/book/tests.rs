use super::*;
use crate::orders::OrderList;
use crate::{AccountId, InstrumentId, KeyId, NewOrder, SelfTrade, Terms, TimeInForce};

/// A book, its orders, and the list of the one account that owns them.
struct Fixture {
    book: Book,
    orders: Orders,
    list: OrderList,
}

impl Fixture {
    fn ask(&mut self, ticks: u32, units: u64) -> Slot {
        let attributes = Attributes { latency_ms: 400, throughput_tps: 60, ..Attributes::default() };
        let new = NewOrder {
            account: AccountId(1),
            key: KeyId(0),
            instrument: InstrumentId(1),
            client_id: None,
            limit: Some(Price(ticks.into())),
            quantity: Quantity(units),
            min_quantity: Quantity(0),
            time_in_force: TimeInForce::Gtc,
            post_only: false,
            cancel_on_disconnect: false,
            self_trade: SelfTrade::Allow,
            terms: Terms::Ask { attributes },
        };
        let slot = self.orders.open(&new, KeyId(0), ticks, &mut self.list);
        self.book.insert(&mut self.orders, slot);
        slot
    }

    fn in_the_way(&self, demand: &Demand) -> usize {
        let queued = self.book.queued_asks(&self.orders, demand);
        queued.take_while(|slot| self.orders.hot(*slot).remaining < demand.units).count()
    }

    fn walk(&self, demand: &Demand) -> Vec<Slot> {
        let mut seen = Vec::new();
        self.book.visit_asks(&self.orders, demand, usize::MAX, |slot| {
            seen.push(slot);
            true
        });
        seen
    }
}

fn demand(ticks: u32, units: u64) -> Demand {
    let preference = Preference::Price;
    Demand { ticks, latency_max_ms: u32::MAX, throughput_min_tps: 0, category: [0; 3], units, preference }
}

#[test]
fn small_asks_are_out_of_the_way_of_single_bids_and_keep_their_places() {
    let mut all = Fixture { book: Book::new(1_000), orders: Orders::default(), list: OrderList::default() };
    let mut expected: Vec<Slot> = Vec::new();
    for ticks in 10..15 {
        expected.extend((0..200).map(|_| all.ask(ticks, 1)));
    }
    let large = all.ask(20, 9);
    expected.push(large);
    let (any, single) = (demand(1_000, 0), demand(1_000, 5));
    assert_eq!((all.in_the_way(&single), all.walk(&any)), (1_000, expected.clone()));

    let totals = all.book.levels(Side::Ask, Price(1));
    all.book.move_small_asks(&mut all.orders, &single);
    assert!(all.in_the_way(&single) < PASSED_MAX);
    assert_eq!(all.book.best_ask(&all.orders, &single), Some(large));
    assert_eq!(all.book.levels(Side::Ask, Price(1)), totals);
    expected.extend([all.ask(20, 2), all.ask(30, 2)]);
    expected.insert(200, all.ask(10, 3)); // Behind those of its price, wherever they are.
    assert_eq!(all.walk(&any), expected);

    // Beyond what one bid needs nothing moves, and a limit below them moves none.
    let queued = all.book.queued_asks(&all.orders, &any).count();
    all.book.move_small_asks(&mut all.orders, &single);
    all.book.move_small_asks(&mut all.orders, &demand(9, 5));
    assert_eq!(all.book.queued_asks(&all.orders, &any).count(), queued);
}

#[test]
fn one_command_moves_so_many_small_asks_and_no_more() {
    let mut all = Fixture { book: Book::new(1_000), orders: Orders::default(), list: OrderList::default() };
    let more = 3_000;
    (0..MOVES_MAX + more).for_each(|_| {
        all.ask(10, 1);
    });
    let single = demand(10, 5);
    all.book.move_small_asks(&mut all.orders, &single);
    assert_eq!(all.in_the_way(&single), more);
    assert_eq!(all.book.best_ask(&all.orders, &single), None, "the rest is passed over");
    all.book.move_small_asks(&mut all.orders, &single);
    assert!(all.in_the_way(&single) < PASSED_MAX);
}

#[test]
fn an_ask_that_shrinks_in_the_index_is_known_to_be_smaller() {
    let mut all = Fixture { book: Book::new(1_000), orders: Orders::default(), list: OrderList::default() };
    let asks: Vec<Slot> = (0..500).map(|_| all.ask(10, 4)).collect();
    all.book.move_small_asks(&mut all.orders, &demand(10, 5));
    let known = |all: &Fixture| all.book.segments.feasible(accepted(&[0; 3]), ask_query(&demand(10, 4))).count();
    assert!(known(&all) > 400);
    asks.iter().for_each(|slot| {
        all.book.resize(&mut all.orders, *slot, 1);
    });
    assert_eq!(known(&all), 0);
}
