//! Random commands for the engine and its naive twin.

#[cfg(test)]
mod commands;
#[cfg(test)]
mod compare;
#[cfg(test)]
mod quote;
#[cfg(test)]
mod small;
#[cfg(test)]
mod snapshot;

use commands::{Random, command};
use gollem_engine::naive::Twin;
use gollem_engine::*;
use std::collections::BTreeMap;

/// The name of an event, a refusal's with its reason and a closing's with its own.
fn name(event: &Event) -> String {
    let first = |text: String| text.split([' ', '{', '(']).next().unwrap_or_default().to_owned();
    match event {
        Event::Rejected(reason) => format!("Rejected {}", first(format!("{reason:?}"))),
        Event::OrderClosed { reason, .. } => format!("OrderClosed {reason:?}"),
        Event::Transferred(transfer) => format!("Transferred {:?}", transfer.code),
        Event::BreakerChanged { state, .. } => format!("BreakerChanged {}", first(format!("{state:?}"))),
        Event::ContractClosed { reason, .. } => format!("ContractClosed {reason:?}"),
        Event::QuoteReleased { reason, .. } => format!("QuoteReleased {reason:?}"),
        other => first(format!("{other:?}")),
    }
}

/// Events and reasons that the commands lead to. Left out are `BalanceTooLarge` and `TooMany..`, whose bounds are too
/// far away.
const EXPECTED: [&str; 95] = [
    "Rejected",
    "AccountOpened",
    "InstrumentListed",
    "CreditsPurchased",
    "PurchaseRepeated",
    "OrderAccepted",
    "OrderRepeated",
    "Traded",
    "OrderRested",
    "OrderClosed",
    "OrderReplaced",
    "OrdersCancelled",
    "QuoteRestored",
    "LevelChanged",
    "Delivered",
    "ContractClosed",
    "PayoutRequested",
    "PayoutConfirmed",
    "PayoutFailed",
    "PayoutSent",
    "PayoutReturned",
    "QuoteLocked",
    "QuoteReleased",
    "Transferred",
    "ProviderMeasured",
    "BreakerChanged",
    "TimerSet",
    "TimerFired",
    "InstrumentStateChanged",
    "ReferencePriceSet",
    "PurchaseRefunded",
    "RefundRepeated",
    "RefundFailed",
    "DisputeOpened",
    "DisputeRepeated",
    "DisputeResolved",
    "PayoutPolicySet",
    "CreditPolicySet",
    "KeyLimitsSet",
    "GuardRailSet",
    "GuardRailsReset",
    "UnknownAccount",
    "UnknownInstrument",
    "UnknownOrder",
    "UnknownContract",
    "UnknownPayout",
    "PayoutAlreadySent",
    "NotLockable",
    "NotChoosy",
    "TooManyProviders",
    "NothingToLock",
    "UnknownLock",
    "InvalidInstrument",
    "SymbolTaken",
    "PurchaseOutOfRange",
    "ReferenceConflict",
    "QuantityOutOfRange",
    "PriceOutOfRange",
    "PriceOffTick",
    "NotionalTooLarge",
    "MarketOrderMustBeImmediate",
    "InsufficientCredits",
    "DeliveryExceedsContract",
    "PayoutOutOfRange",
    "PayoutNotWholeCents",
    "InstrumentNotOpen",
    "QuantityOffLot",
    "MinQuantityOutOfRange",
    "PriceOutsideBand",
    "PostOnlyMustRest",
    "PostOnlyWouldTake",
    "ExpiryInPast",
    "InvalidWeights",
    "ProviderSuspended",
    "AccountInDebt",
    "KeyLimitExceeded",
    "GuardRailExceeded",
    "NothingToReplace",
    "TimerOutOfRange",
    "UnknownPurchase",
    "RefundOutOfRange",
    "UnknownDispute",
    "UnknownRefund",
    "DisputeResolvedBefore",
    "UnknownGuardRail",
    "LimitOutOfRange",
    "KeyNotNumbered",
    "Filled",
    "Cancelled",
    "Expired",
    "SelfTrade",
    "DeadMan",
    "Disconnected",
    "Disputed",
    "Settled",
];

/// Whether money moved from such an account.
fn moves(events: &[Event], debited: fn(LedgerAccount) -> bool) -> bool {
    events.iter().any(|event| matches!(event, Event::Transferred(transfer) if debited(transfer.debit)))
}

/// What only the order of events shows.
fn corners(command: &Command, events: &[Event]) -> Vec<&'static str> {
    let traded = events.iter().any(|event| matches!(event, Event::Traded(_)));
    let mut corners = Vec::new();
    match command {
        Command::PlaceOrder(_) => {
            let rested = events.iter().position(|event| matches!(event, Event::OrderRested { .. }));
            if rested.is_some_and(|index| index + 1 == events.len()) {
                corners.push("an arriving ask runs out of probes");
            }
        }
        Command::SetInstrumentState { .. } if traded => corners.push("an ask that waited matches"),
        Command::ReportDelivery(_) if traded => corners.push("a delivery leads to a match"),
        Command::UseQuote { .. } if traded => corners.push("a lock is used"),
        Command::ReleaseQuote { .. } if traded => corners.push("units of a released lock match"),
        Command::ReplaceOrder(_) if traded => corners.push("a replaced order matches"),
        Command::RecordRefund { .. } if moves(events, |debit| matches!(debit, LedgerAccount::Receivable(_))) => {
            corners.push("a refund that the processor made is owed");
        }
        Command::FailRefund { .. } if moves(events, |debit| matches!(debit, LedgerAccount::Available(_))) => {
            corners.push("a refund that failed repays a debt");
        }
        Command::Tick if traded => corners.push("a deadline leads to a match"),
        _ => {}
    }
    let after = |first: fn(&Event) -> bool, then: fn(&Event) -> bool| {
        events.windows(2).any(|pair| first(&pair[0]) && then(&pair[1]))
    };
    let opens = |event: &Event| matches!(event, Event::BreakerChanged { state: Breaker::Open { .. }, .. });
    let used = |event: &Event| matches!(event, Event::BreakerChanged { state: Breaker::HalfOpen { probes: 0 }, .. });
    let level = |event: &Event| matches!(event, Event::LevelChanged { side: Side::Ask, .. });
    if after(|event| matches!(event, Event::BreakerChanged { .. }), |event| matches!(event, Event::Traded(_))) {
        corners.push("a returning ask matches");
    }
    if after(opens, level) {
        corners.push("an opening breaker parks asks");
    }
    if after(used, level) {
        corners.push("the last probe parks asks");
    }
    if after(|event| matches!(event, Event::QuoteRestored { .. }), |event| !matches!(event, Event::LevelChanged { .. }))
    {
        corners.push("units return to a parked ask");
    }
    if traded && events.iter().any(|event| matches!(event, Event::OrderClosed { reason: CloseReason::SelfTrade, .. })) {
        corners.push("a trade and a self-trade");
    }
    corners
}

/// A fill-or-kill order that trades is filled. (Its last events are its own: what comes due comes first.)
fn is_all_or_nothing(command: &Command, events: &[Event]) -> bool {
    let kills = matches!(command, Command::PlaceOrder(new) if new.time_in_force == TimeInForce::Fok);
    let accepted = events.iter().position(|event| matches!(event, Event::OrderAccepted(_)));
    let own = accepted.map_or(&[][..], |index| &events[index..]);
    let trades = own.iter().any(|event| matches!(event, Event::Traded(_)));
    let unfilled = |event: &Event| {
        matches!(event, Event::OrderClosed { reason: CloseReason::Unfilled(_), .. } | Event::OrderRested { .. })
    };
    !(kills && trades && own.iter().any(unfilled))
}

#[test]
fn the_random_commands_reach_every_corner() {
    let runs = std::env::var("TWIN_COMMANDS").ok().and_then(|count| count.parse().ok()).unwrap_or(200_000);
    let seed = std::env::var("TWIN_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let mut random = Random(seed);
    let mut twin = Twin::new();
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    let (mut orders, mut contracts) = (0, 0);
    for seq in 1..=runs {
        let (elapsed, command) = command(&mut random, &twin);
        let mut events = Vec::new();
        let at = Timestamp(twin.now().0 + elapsed);
        let input = Input { seq, at, command };
        twin.apply(&input, &mut events);
        assert!(is_all_or_nothing(&input.command, &events), "{input:?}\n{events:#?}");
        for corner in corners(&input.command, &events) {
            *counts.entry(format!("corner: {corner}")).or_default() += 1;
        }
        for event in &events {
            *counts.entry(name(event)).or_default() += 1;
        }
        assert_eq!(twin.ledger_sum(), 0);
        assert!(twin.is_sound(), "{input:?}\n{events:#?}");
        orders += twin.open_orders().count();
        contracts += twin.open_contracts().count();
    }
    for (name, count) in &counts {
        println!("{count:8} {name}");
    }
    let reached = |name: &&str| counts.keys().any(|reached| reached.split(' ').any(|word| word == *name));
    let missed: Vec<&str> = EXPECTED.into_iter().filter(|name| !reached(name)).collect();
    assert!(missed.is_empty() || runs < 200_000, "never happened: {missed:?}");
    println!("open on average: {} orders, {} contracts", orders / runs as usize, contracts / runs as usize);
}
