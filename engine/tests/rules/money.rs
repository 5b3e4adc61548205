//! What may be asked of purchases, refunds, disputes and payouts.

use crate::market::{Market, plain};
use gollem_engine::*;

const DOLLAR: i64 = 100 * ATOMS_PER_CENT;
const BUYER: AccountId = AccountId(1);
const PROVIDER: AccountId = AccountId(2);
const PURCHASE: Reference = Reference([1; 16]);

fn reference(name: u8) -> Reference {
    Reference([name; 16])
}

/// Two accounts, the first with five dollars of one purchase.
fn opened() -> Market {
    let mut market = Market::default();
    (0..2).for_each(|_| drop(market.send(Command::OpenAccount)));
    let amount = Amount(5 * DOLLAR);
    market.send(Command::PurchaseCredits { account: BUYER, amount, reference: PURCHASE });
    market
}

#[test]
fn what_is_left_of_a_purchase_falls_with_what_is_taken_and_grows_with_what_comes_back() {
    let mut market = opened();
    let amount = Amount(DOLLAR);
    let steps = [
        (Command::RefundPurchase { purchase: PURCHASE, amount, reference: reference(2) }, 4),
        (Command::RecordRefund { purchase: PURCHASE, amount, reference: reference(3) }, 3),
        (Command::RecordRefund { purchase: PURCHASE, amount, reference: reference(3) }, 3),
        (Command::OpenDispute { purchase: PURCHASE, amount, reference: reference(4) }, 2),
        (Command::FailRefund { reference: reference(2) }, 3),
        (Command::FailRefund { reference: reference(3) }, 4),
        (Command::FailRefund { reference: reference(3) }, 4),
        (Command::ResolveDispute { reference: reference(4), won: true }, 5),
    ];
    for (command, dollars) in steps {
        market.send(command.clone());
        let left = market.engine.purchase_left(PURCHASE);
        assert_eq!(left, Some((BUYER, Amount(dollars * DOLLAR))), "{command:?}");
        assert_eq!(market.balance(BUYER).available, Amount(dollars * DOLLAR), "{command:?}");
        assert_eq!(market.engine.ledger_sum(), 0);
    }
    assert_eq!(market.engine.purchase_left(reference(9)), None);
}

#[test]
fn refunds_are_known_by_their_references_and_disputes_with_their_outcome() {
    let mut market = opened();
    let amount = Amount(DOLLAR);
    assert!(!market.engine.knows_refund(reference(2)));
    market.send(Command::RecordRefund { purchase: PURCHASE, amount, reference: reference(2) });
    assert!(market.engine.knows_refund(reference(2)));
    market.send(Command::FailRefund { reference: reference(2) });
    assert!(market.engine.knows_refund(reference(2)), "its reference stays used");
    assert_eq!(market.engine.dispute(reference(4)), None);
    for (name, won) in [(4, true), (5, false)] {
        market.send(Command::OpenDispute { purchase: PURCHASE, amount, reference: reference(name) });
        assert_eq!(market.engine.dispute(reference(name)), Some(None));
        market.send(Command::ResolveDispute { reference: reference(name), won });
        assert_eq!(market.engine.dispute(reference(name)), Some(Some(won)));
    }
}

#[test]
fn a_payout_is_known_until_it_failed_or_came_back_and_pending_until_it_is_confirmed() {
    let mut market = opened();
    market.send(Command::ListInstrument(Box::new(plain("one"))));
    let order = |account, terms| NewOrder {
        account,
        key: KeyId(0),
        instrument: InstrumentId(1),
        client_id: None,
        limit: Some(Price(1_000_000)),
        quantity: Quantity(100_000),
        min_quantity: Quantity(0),
        time_in_force: TimeInForce::Gtc,
        post_only: false,
        cancel_on_disconnect: false,
        self_trade: SelfTrade::default(),
        terms,
    };
    let (constraints, preference) = (Constraints::default(), Preference::Price);
    market.send(Command::PlaceOrder(order(PROVIDER, Terms::Ask { attributes: Attributes::default() })));
    market.send(Command::PlaceOrder(order(BUYER, Terms::Bid { constraints, preference, single: false })));
    let (contract, _) = *market.engine.contracts().last().expect("it traded");
    market.send(Command::ReportDelivery(DeliveryReport {
        contract,
        quantity: Quantity(100_000),
        first_token_ms: None,
        throughput_tps: None,
        outcome: Outcome::Completed,
        tokens: Tokens::default(),
        last: true,
    }));
    let payout = PayoutId(1);
    let steps = [
        (Command::RequestPayout { account: PROVIDER, amount: None }, Some(PayoutStatus::Requested)),
        (Command::SendPayout { payout }, Some(PayoutStatus::Sent)),
        (Command::ReturnPayout { payout }, Some(PayoutStatus::Sent)),
        (Command::ConfirmPayout { payout }, Some(PayoutStatus::Confirmed)),
        (Command::FailPayout { payout }, Some(PayoutStatus::Confirmed)),
        (Command::ReturnPayout { payout }, None),
    ];
    for (command, status) in steps {
        market.send(command.clone());
        assert_eq!(market.engine.payout(payout).map(|payout| payout.status), status, "{command:?}");
        let pending: i64 = market.engine.payouts().map(|(_, payout)| payout.amount.0).sum();
        let expected = if matches!(status, Some(PayoutStatus::Requested | PayoutStatus::Sent)) { DOLLAR } else { 0 };
        assert_eq!((pending, market.balance(PROVIDER).payout_pending.0), (expected, expected), "{command:?}");
    }
    assert_eq!(market.balance(PROVIDER).earned, Amount(DOLLAR));
    market.send(Command::RequestPayout { account: PROVIDER, amount: None });
    market.send(Command::FailPayout { payout: PayoutId(2) });
    assert_eq!(market.engine.payout(PayoutId(2)), None);
}
