//! Asks that wait while their market is closed, and leave their places to match when it opens.

use crate::check::check;
use crate::market::spec;
use gollem_engine::limits::PURCHASE_ATOMS_MIN;
use gollem_engine::*;
use gollem_projections::{Fold, Page, Reader, Views};

const SELLER: AccountId = AccountId(1);
const BUYER: AccountId = AccountId(2);
const OTHER: AccountId = AccountId(3);
const MARKET: InstrumentId = InstrumentId(1);
const PRICE: Price = Price(100_000_000);

/// A market played by hand.
struct Story<'a> {
    engine: Engine,
    fold: Fold<'a>,
    views: &'a Views,
    orders: Vec<OrderId>,
    contracts: Vec<ContractId>,
}

impl<'a> Story<'a> {
    fn new(views: &'a Views) -> Story<'a> {
        let fold = Fold::new(views).unwrap();
        let mut story = Story { engine: Engine::default(), fold, views, orders: Vec::new(), contracts: Vec::new() };
        story.does(Command::ListInstrument(Box::new(spec(1))));
        story.does(Command::ListInstrument(Box::new(spec(2))));
        for account in [SELLER, BUYER, OTHER] {
            story.does(Command::OpenAccount);
            let reference = Reference(u128::from(account.0).to_le_bytes());
            story.does(Command::PurchaseCredits { account, amount: Amount(PURCHASE_ATOMS_MIN), reference });
        }
        story
    }

    fn does(&mut self, command: Command) {
        let seq = self.engine.last_seq() + 1;
        let (at, mut events) = (Timestamp(seq), Events::new());
        self.engine.apply(&Input { seq, at, command }, &mut events);
        assert!(!events.iter().any(|event| matches!(event, Event::Rejected(_))), "{events:?}");
        for event in &events {
            match event {
                Event::OrderAccepted(order) => self.orders.push(order.id),
                Event::Traded(trade) => self.contracts.push(trade.contract),
                _ => {}
            }
        }
        self.fold.apply(seq, at, &events).unwrap();
        self.fold.flush().unwrap();
        check(self.views, &self.engine);
    }

    fn places(&mut self, account: AccountId, quantity: u64, terms: Terms, self_trade: SelfTrade) -> OrderId {
        self.does(Command::PlaceOrder(NewOrder {
            account,
            key: KeyId(0),
            instrument: MARKET,
            client_id: None,
            limit: Some(PRICE),
            quantity: Quantity(quantity),
            min_quantity: Quantity(0),
            time_in_force: TimeInForce::Gtc,
            post_only: false,
            cancel_on_disconnect: false,
            self_trade,
            terms,
        }));
        self.orders[self.orders.len() - 1]
    }

    fn asks(&mut self, account: AccountId, quantity: u64, self_trade: SelfTrade) -> OrderId {
        self.places(account, quantity, Terms::Ask { attributes: Attributes::default() }, self_trade)
    }

    fn bids(&mut self, account: AccountId, quantity: u64, single: bool) -> OrderId {
        let (constraints, preference) = (Constraints::default(), Preference::Price);
        self.places(account, quantity, Terms::Bid { constraints, preference, single }, SelfTrade::Allow)
    }

    /// Ends a contract of which nothing was delivered.
    fn returns(&mut self, contract: ContractId) {
        self.does(Command::ReportDelivery(DeliveryReport {
            contract,
            quantity: Quantity(0),
            first_token_ms: None,
            throughput_tps: None,
            outcome: Outcome::Abandoned,
            tokens: Tokens::default(),
            last: true,
        }));
    }

    fn asks_queued(&self) -> Vec<OrderId> {
        let reader: Reader<'_> = self.views.read().unwrap();
        reader.queue(MARKET, Side::Ask, 100).unwrap().iter().map(|row| row.order.id).collect()
    }
}

/// Two asks wait while the market is closed, before a third that does not. When it opens the first meets a bid of `owner`'s
/// that only it can serve. Returns the queue by the asks' places in time.
fn check_opening(owner: AccountId, mode: SelfTrade, wanted: u64, expected: &[usize]) {
    let dir = tempfile::tempdir().unwrap();
    let views = Views::open(dir.path()).unwrap();
    let mut story = Story::new(&views);
    let asks = [story.asks(SELLER, 10, mode), story.asks(SELLER, 10, mode), story.asks(OTHER, 4, mode)];
    // Six units each of the first two are under contract, so that a single bid for more than four finds none.
    story.bids(BUYER, 6, true);
    story.bids(BUYER, 6, true);
    let contracts = story.contracts.clone();
    assert_eq!(contracts.len(), 2);
    let bid = story.bids(owner, wanted, true);
    story.does(Command::SetInstrumentState { instrument: MARKET, state: InstrumentState::CancelOnly });
    contracts.into_iter().for_each(|contract| story.returns(contract));
    assert_eq!(story.asks_queued(), asks, "nobody moves while the market is closed");
    story.does(Command::SetInstrumentState { instrument: MARKET, state: InstrumentState::Open });
    let queued: Vec<usize> =
        story.asks_queued().iter().map(|id| asks.iter().position(|ask| ask == id).unwrap()).collect();
    assert_eq!(queued, expected, "{owner:?} {mode:?}");
    let reader = views.read().unwrap();
    assert!(!reader.order(bid).unwrap().unwrap().is_open());
    assert_eq!(
        reader.orders(owner, true, Page::newest(9)).unwrap().iter().filter(|row| row.order.id == bid).count(),
        0
    );
}

#[test]
fn an_ask_that_sells_part_of_itself_as_its_market_opens_goes_to_the_back() {
    check_opening(BUYER, SelfTrade::CancelNewest, 8, &[1, 2, 0]);
}

#[test]
fn an_ask_that_meets_its_own_bid_as_its_market_opens_goes_to_the_back_or_closes() {
    check_opening(SELLER, SelfTrade::Allow, 8, &[1, 2, 0]);
    check_opening(SELLER, SelfTrade::CancelOldest, 8, &[1, 2, 0]);
    check_opening(SELLER, SelfTrade::Decrement, 8, &[1, 2, 0]);
    check_opening(SELLER, SelfTrade::CancelBoth, 8, &[1, 2]);
}
