//! The way out of bincode, which nobody maintains any more: wincode reads the journal's commands, and writes the same bytes.
//!
//! Its derive needs types of its own here, so these mirror the engine's, field by field. They have the names of theirs,
//! so that two values are equal when they are written alike for debugging.

#![expect(clippy::mem_forget, reason = "wincode's derive writes it")]

use gollem_engine::Command;

/// The engine's words, as wincode knows them.
mod mirror {
    use wincode::{SchemaRead, SchemaWrite};

    macro_rules! numbered {
        ($($name:ident($inner:ty);)*) => { $(
            #[derive(Debug, SchemaRead, SchemaWrite)]
            pub(super) struct $name(pub(super) $inner);
        )* };
    }

    numbered! {
        AccountId(u32);
        InstrumentId(u32);
        KeyId(u32);
        OrderId(u64);
        ContractId(u64);
        PayoutId(u64);
        Reference([u8; 16]);
        ClientOrderId([u8; 16]);
        Timestamp(u64);
        Amount(i64);
        Price(u64);
        Quantity(u64);
        GpuClass(u8);
        Region(u8);
        Precision(u8);
        Symbol(String);
    }

    #[derive(Debug, SchemaRead, SchemaWrite)]
    pub(super) enum Command {
        OpenAccount,
        ListInstrument(InstrumentSpec),
        PurchaseCredits { account: AccountId, amount: Amount, reference: Reference },
        PlaceOrder(NewOrder),
        CancelOrder { account: AccountId, order: OrderId },
        ReportDelivery(DeliveryReport),
        RequestPayout { account: AccountId, amount: Option<Amount> },
        ConfirmPayout { payout: PayoutId },
        FailPayout { payout: PayoutId },
        Tick,
        ReplaceOrder(Replacement),
        CancelOrders { account: AccountId, instrument: Option<InstrumentId>, side: Option<Side> },
        SetTimer { account: AccountId, timer: Timer, after_ns: Option<u64> },
        SetInstrumentState { instrument: InstrumentId, state: InstrumentState },
        SetReferencePrice { instrument: InstrumentId, price: Price },
        RefundPurchase { purchase: Reference, amount: Amount, reference: Reference },
        OpenDispute { purchase: Reference, amount: Amount, reference: Reference },
        ResolveDispute { reference: Reference, won: bool },
        SetPayoutPolicy { account: AccountId, policy: PayoutPolicy },
        SetCreditPolicy { account: AccountId, policy: CreditPolicy },
        SetKeyLimits { account: AccountId, key: KeyId, limits: KeyLimits },
        SetGuardRail { account: AccountId, window: u8, limit: Option<Amount> },
        ResetGuardRails { account: AccountId },
        SendPayout { payout: PayoutId },
        LockQuote(NewOrder),
        UseQuote { account: AccountId, lock: OrderId },
        ReleaseQuote { account: AccountId, lock: OrderId },
        PlaceChosen { order: NewOrder, providers: Providers },
        RecordRefund { purchase: Reference, amount: Amount, reference: Reference },
        FailRefund { reference: Reference },
        ReturnPayout { payout: PayoutId },
    }

    #[derive(Debug, SchemaRead, SchemaWrite)]
    pub(super) enum Providers {
        Only(Vec<AccountId>),
        Except(Vec<AccountId>),
    }

    #[derive(Debug, SchemaRead, SchemaWrite)]
    pub(super) struct InstrumentSpec {
        symbol: Symbol,
        weights: TokenWeights,
        tick: Price,
        price_max: Price,
        reference_price: Price,
        band_bps: u32,
        lot: Quantity,
        quantity_min: Quantity,
        quantity_max: Quantity,
        maker_fee_bps: u16,
        taker_fee_bps: u16,
        delivery_fee_bps: u16,
        tolerance_bps: u16,
        rebate_bps: u16,
        contract_ttl_ns: u64,
    }

    #[derive(Debug, SchemaRead, SchemaWrite)]
    pub(super) struct TokenWeights {
        input: u32,
        cached_input: u32,
        output: u32,
    }

    #[derive(Debug, SchemaRead, SchemaWrite)]
    pub(super) struct NewOrder {
        account: AccountId,
        key: KeyId,
        instrument: InstrumentId,
        client_id: Option<ClientOrderId>,
        limit: Option<Price>,
        quantity: Quantity,
        min_quantity: Quantity,
        time_in_force: TimeInForce,
        post_only: bool,
        cancel_on_disconnect: bool,
        self_trade: SelfTrade,
        terms: Terms,
    }

    #[derive(Debug, SchemaRead, SchemaWrite)]
    pub(super) struct Replacement {
        account: AccountId,
        order: OrderId,
        limit: Option<Price>,
        quantity: Option<Quantity>,
    }

    #[derive(Debug, SchemaRead, SchemaWrite)]
    pub(super) struct Tokens {
        input: u32,
        cached_input: u32,
        output: u32,
    }

    #[derive(Debug, SchemaRead, SchemaWrite)]
    pub(super) struct DeliveryReport {
        contract: ContractId,
        quantity: Quantity,
        first_token_ms: Option<u32>,
        throughput_tps: Option<u32>,
        outcome: Outcome,
        tokens: Tokens,
        last: bool,
    }

    #[derive(Debug, SchemaRead, SchemaWrite)]
    pub(super) enum Terms {
        Bid { constraints: Constraints, preference: Preference, single: bool },
        Ask { attributes: Attributes },
    }

    #[derive(Debug, SchemaRead, SchemaWrite)]
    pub(super) struct Constraints {
        max_latency_ms: Option<u32>,
        min_throughput_tps: Option<u32>,
        gpus: u16,
        regions: u16,
        precisions: u16,
    }

    #[derive(Debug, SchemaRead, SchemaWrite)]
    pub(super) enum Preference {
        Price,
        Latency,
        Throughput,
        Weights { price: u16, latency: u16, throughput: u16 },
    }

    #[derive(Debug, SchemaRead, SchemaWrite)]
    pub(super) struct Attributes {
        latency_ms: u32,
        throughput_tps: u32,
        gpu: GpuClass,
        region: Region,
        precision: Precision,
    }

    #[derive(Debug, SchemaRead, SchemaWrite)]
    pub(super) enum Side {
        Bid,
        Ask,
    }

    #[derive(Debug, SchemaRead, SchemaWrite)]
    pub(super) enum TimeInForce {
        Gtc,
        Ioc,
        Fok,
        Gtd(Timestamp),
    }

    #[derive(Debug, SchemaRead, SchemaWrite)]
    pub(super) enum SelfTrade {
        CancelNewest,
        CancelOldest,
        CancelBoth,
        Decrement,
        Allow,
    }

    #[derive(Debug, SchemaRead, SchemaWrite)]
    pub(super) enum Outcome {
        Completed,
        Abandoned,
        Failed,
    }

    #[derive(Debug, SchemaRead, SchemaWrite)]
    pub(super) enum Timer {
        DeadMan,
        Connection,
    }

    #[derive(Debug, SchemaRead, SchemaWrite)]
    pub(super) enum InstrumentState {
        Open,
        CancelOnly,
        Halted,
    }

    #[derive(Debug, SchemaRead, SchemaWrite)]
    pub(super) struct PayoutPolicy {
        automatic: bool,
        monthly: bool,
    }

    #[derive(Debug, SchemaRead, SchemaWrite)]
    pub(super) struct CreditPolicy {
        overage_cap: Amount,
        auto_renew: bool,
    }

    #[derive(Debug, SchemaRead, SchemaWrite)]
    pub(super) struct KeyLimits {
        daily: Option<Amount>,
        monthly: Option<Amount>,
        hard: Option<Amount>,
    }
}

#[test]
fn wincode_reads_every_golden_command_as_the_same_and_writes_the_same_bytes() {
    let golden = include_str!("golden_commands.txt");
    for line in golden.lines() {
        let digits = |at: usize| u8::from_str_radix(&line[at..at + 2], 16).unwrap();
        let bytes: Vec<u8> = (0..line.len()).step_by(2).map(digits).collect();
        let ours = Command::decode(&bytes).unwrap();
        let theirs: mirror::Command = wincode::deserialize_exact(&bytes).unwrap();
        assert_eq!(format!("{theirs:?}"), format!("{ours:?}"));
        assert_eq!(wincode::serialize(&theirs).unwrap(), bytes, "{ours:?}");
    }
    assert_eq!(golden.lines().count(), 32, "all commands were seen, orders of both sides");
}
