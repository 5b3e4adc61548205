//! What each route does, in a line, with its body and its answer: the part of the document that the routes' table does not
//! know. A test compares the two tables.

use super::answers;
use crate::api::{accounts, guard_rails, keys, market, orders, payments, people, providers, quote};
use utoipa::ToSchema;
use utoipa::openapi::{Ref, RefOr, Schema};

/// Schemas by name.
pub(super) type Schemas = Vec<(String, RefOr<Schema>)>;
/// Adds a type's schemas and refers to it.
pub(super) type Typed = fn(&mut Schemas) -> RefOr<Schema>;

fn typed<T: ToSchema>(schemas: &mut Schemas) -> RefOr<Schema> {
    schemas.push((T::name().into_owned(), T::schema()));
    T::schemas(schemas);
    RefOr::Ref(Ref::from_schema_name(T::name()))
}

/// What an answer is.
pub(super) enum Content {
    Json(Typed),
    /// A query's: with its position.
    View(Typed),
    /// JSON of any form.
    Any,
    /// Text of this media type.
    Text(&'static str),
}

/// One operation.
pub(super) struct Operation {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) tag: &'static str,
    pub(super) summary: &'static str,
    pub(super) body: Option<Typed>,
    /// Whether the body may be left out.
    pub(super) body_optional: bool,
    pub(super) status: &'static str,
    pub(super) answer: Content,
}

const fn op(
    method: &'static str,
    path: &'static str,
    tag: &'static str,
    summary: &'static str,
    answer: Content,
) -> Operation {
    Operation { method, path, tag, summary, body: None, body_optional: false, status: "200", answer }
}

impl Operation {
    const fn takes(mut self, body: Typed) -> Operation {
        self.body = Some(body);
        self
    }

    const fn creates(mut self) -> Operation {
        self.status = "201";
        self
    }
}

const fn json<T: ToSchema>() -> Content {
    Content::Json(typed::<T>)
}

const fn view<T: ToSchema>() -> Content {
    Content::View(typed::<T>)
}

const ACCESS: &str = "Keys and people";
const MARKET: &str = "Market data";
const ORDERS: &str = "Orders";
const CONTRACTS: &str = "Contracts and deliveries";
const MONEY: &str = "Money";
const PROVIDERS: &str = "Providers";
const INFERENCE: &str = "Inference";
const OPERATION: &str = "Operation";

/// The table.
pub(super) const OPERATIONS: &[Operation] = &[
    op("GET", "/health", OPERATION, "Whether commands are accepted", json::<answers::Health>()),
    op("GET", "/health/live", OPERATION, "Whether only a restart would help", json::<answers::Alive>()),
    op("GET", "/health/ready", OPERATION, "Whether commands and questions are answered", json::<answers::Ready>()),
    op("GET", "/metrics", OPERATION, "Figures for Prometheus", Content::Text("text/plain")),
    op("GET", "/openapi.json", OPERATION, "This document", Content::Any),
    op("GET", "/docs", OPERATION, "This document as a page", Content::Text("text/html")),
    op("GET", "/v1/journal/key", OPERATION, "What signs receipts and tree heads", Content::Text("text/plain")),
    op("GET", "/v1/journal/head", OPERATION, "The last signed tree head", Content::Text("text/plain")),
    op("GET", "/v1/instruments", MARKET, "Contract specifications", view::<answers::Instruments>()),
    op("GET", "/v1/instruments/{instrument}", MARKET, "A contract specification", view::<answers::Instrument>()),
    op("GET", "/v1/book/{instrument}", MARKET, "Depth", view::<answers::Book>()),
    op("GET", "/v1/trades/{instrument}", MARKET, "The tape", view::<answers::Trades>()),
    op("GET", "/v1/candles/{instrument}", MARKET, "Candles", view::<answers::Candles>()),
    op("GET", "/v1/index", MARKET, "The index price of every model", view::<answers::Indices>()),
    op("GET", "/v1/index/{model}", MARKET, "The index price of a model", view::<answers::Index>()),
    op("GET", "/api/orderbook/status", MARKET, "Best prices of every book", view::<answers::BooksStatus>()),
    op("GET", "/v1/models", MARKET, "The models, with what they cost now", view::<answers::Models>()),
    op("GET", "/v1/models/{model}", MARKET, "A model, with what it costs now", view::<answers::Model>()),
    op("GET", "/v1/models/stats", MARKET, "Calls, tokens and delays of every model", view::<answers::ModelsStats>()),
    op("GET", "/v1/models/{model}/stats", MARKET, "Calls, tokens and delays of a model", view::<answers::ModelStats>()),
    op("GET", "/v1/models/recommend", MARKET, "The models that fit a use, best first", view::<answers::Recommended>()),
    op("POST", "/v1/quote", ORDERS, "What a bid could take now", json::<answers::Quote>())
        .takes(typed::<quote::QuoteRequest>),
    op("POST", "/v1/quotes/{lock}/use", ORDERS, "Buy what a quote locked", json::<answers::Order>()).creates(),
    op("DELETE", "/v1/quotes/{lock}", ORDERS, "Let go of what a quote locked", json::<answers::Released>()),
    op("POST", "/v1/orders", ORDERS, "Place an order", json::<answers::Order>())
        .takes(typed::<orders::PlaceOrder>)
        .creates(),
    op("POST", "/v1/orders/batch", ORDERS, "Place, replace and cancel up to 50 orders", json::<answers::Outcomes>())
        .takes(typed::<orders::Batch>),
    op("POST", "/v1/orders/cancel-after", ORDERS, "Set or clear the dead-man timer", json::<answers::TimerSet>())
        .takes(typed::<orders::CancelAfter>),
    op("GET", "/v1/orders", ORDERS, "Your orders", view::<answers::Orders>()),
    op("DELETE", "/v1/orders", ORDERS, "Cancel open orders together", json::<answers::Cancelled>()),
    op("GET", "/v1/orders/{order}", ORDERS, "An order", view::<answers::Order>()),
    op("PUT", "/v1/orders/{order}", ORDERS, "Replace an order", json::<answers::Order>())
        .takes(typed::<orders::ReplaceOrder>),
    op("DELETE", "/v1/orders/{order}", ORDERS, "Cancel an order", json::<answers::Order>()),
    op("GET", "/v1/fills", ORDERS, "What your orders traded", view::<answers::Fills>()),
    op("GET", "/v1/holds", ORDERS, "What your open bids hold", view::<answers::Holds>()),
    op("GET", "/v1/contracts", CONTRACTS, "Your contracts", view::<answers::Contracts>()),
    op("GET", "/v1/contracts/{contract}", CONTRACTS, "A contract", view::<answers::Contract>()),
    op("GET", "/v1/deliveries", CONTRACTS, "Settled deliveries of your contracts", view::<answers::Deliveries>()),
    op("GET", "/v1/receipts/{contract}", CONTRACTS, "A contract's signed receipt", json::<answers::Receipt>()),
    op("GET", "/v1/usage", CONTRACTS, "What you used, by day or month", view::<answers::Usage>()),
    op("GET", "/v1/usage/export", CONTRACTS, "The same as a file, JSON or CSV", view::<answers::UsageFile>()),
    op("GET", "/v1/analytics", CONTRACTS, "Where your spending went", view::<answers::Analytics>()),
    op("GET", "/v1/balance", MONEY, "Your balances", view::<answers::Balance>()),
    op("GET", "/v1/transactions", MONEY, "Your ledger lines", view::<answers::Transactions>()),
    op("GET", "/v1/guardrails/spending", MONEY, "Your spending windows", view::<answers::Spending>()),
    op("POST", "/v1/purchases", MONEY, "Buy credits", json::<answers::Purchased>())
        .takes(typed::<payments::Purchase>)
        .creates(),
    op("POST", "/api/payments/create-intent", MONEY, "Begin a payment", json::<answers::PaymentBegun>())
        .takes(typed::<payments::intents::CreateIntent>)
        .creates(),
    op("GET", "/api/payments/balance", MONEY, "What is left, and how it renews", json::<answers::CreditsLeft>()),
    op("GET", "/api/payments/transactions", MONEY, "Money in and out", json::<answers::MoneyMoved>()),
    op("GET", "/api/payments/sessions", MONEY, "Who used your account from where", Content::Any),
    op("PUT", "/api/payments/auto-renew", MONEY, "Automatic purchases", Content::Any)
        .takes(typed::<payments::settings::AutoRenew>),
    op("PUT", "/api/payments/alerts", MONEY, "Who is told of a low balance", Content::Any)
        .takes(typed::<payments::settings::SetAlert>),
    op("POST", "/api/payments/onboarding", MONEY, "Tell the processor where your bank is", Content::Any)
        .takes(typed::<payments::settings::Onboard>),
    op("POST", "/webhooks/stripe", OPERATION, "A notice of the payment processor", Content::Any),
    op("POST", "/v1/admin/refunds", OPERATION, "Return money to a buyer", Content::Any)
        .takes(typed::<payments::admin::Refund>)
        .creates(),
    op("GET", "/v1/admin/outbox", OPERATION, "Letters that wait for a person", Content::Any),
    op("POST", "/v1/admin/outbox/{letter}/retry", OPERATION, "Deal with a letter again", Content::Any),
    op("POST", "/v1/admin/outbox/{letter}/dismiss", OPERATION, "Give a letter up", Content::Any),
    Operation {
        body_optional: true,
        ..op("POST", "/v1/admin/reconcile", OPERATION, "Compare the processor's books", Content::Any)
            .takes(typed::<payments::admin::Reconcile>)
    },
    op("GET", "/v1/payouts", MONEY, "Your payouts", view::<answers::Payouts>()),
    Operation {
        body_optional: true,
        ..op("POST", "/v1/payouts", MONEY, "Pay earnings out", json::<answers::PayoutMoved>())
            .takes(typed::<payments::PayoutRequest>)
            .creates()
    },
    op("PUT", "/v1/payouts/policy", MONEY, "When earnings are paid out", json::<answers::PayoutPolicySet>())
        .takes(typed::<payments::SetPayoutPolicy>),
    op("POST", "/v1/payouts/{payout}/send", MONEY, "A payout is on its way", json::<answers::PayoutMoved>()),
    op("POST", "/v1/payouts/{payout}/confirm", MONEY, "A payout arrived", json::<answers::PayoutMoved>()),
    op("POST", "/v1/payouts/{payout}/fail", MONEY, "A payout failed", json::<answers::PayoutMoved>()),
    op("GET", "/v1/providers/{account}/scorecard", PROVIDERS, "A provider's record", view::<answers::Scorecards>()),
    op("GET", "/api/provider/circuit", PROVIDERS, "A provider's breakers", view::<answers::ProviderCircuit>()),
    op("GET", "/api/provider/ratelimit", PROVIDERS, "What may be bought of it", view::<answers::ProviderRateLimit>()),
    op("GET", "/api/provider/latency", PROVIDERS, "What it promised and kept", view::<answers::ProviderLatency>()),
    op("GET", "/api/provider/status", PROVIDERS, "A provider's quotes", view::<answers::ProviderQuotes>()),
    op("POST", "/api/provider/status", PROVIDERS, "Quote a model, or withdraw", json::<answers::Quoted>())
        .takes(typed::<providers::ProviderStatus>),
    op("PUT", "/v1/provider", PROVIDERS, "Where your model server answers", json::<answers::Registered>())
        .takes(typed::<providers::Register>),
    op("POST", "/v1/chat/completions", INFERENCE, "A chat completion, plain or streamed", Content::Any)
        .takes(typed::<answers::ChatCompletion>),
    op("POST", "/v1/completions", INFERENCE, "A text gone on with, plain or streamed", Content::Any)
        .takes(typed::<answers::Completion>),
    op("POST", "/v1/responses", INFERENCE, "A response, plain or streamed; nothing is stored", Content::Any)
        .takes(typed::<answers::ResponseRequest>),
    op("POST", "/v1/messages", INFERENCE, "A message of Anthropic's API, plain or streamed", Content::Any)
        .takes(typed::<answers::MessageRequest>),
    op("POST", "/api/generate", INFERENCE, "One prompt in, one text out", json::<answers::Generated>())
        .takes(typed::<answers::GenerateRequest>),
    op("POST", "/v1/instruments", OPERATION, "List a market", json::<answers::Instrument>())
        .takes(typed::<market::ListInstrument>)
        .creates(),
    op("PUT", "/v1/instruments/{instrument}/state", OPERATION, "Open or halt a market", json::<answers::Instrument>())
        .takes(typed::<market::SetState>),
    op(
        "PUT",
        "/v1/instruments/{instrument}/reference-price",
        OPERATION,
        "Move a market's price band",
        json::<answers::Instrument>(),
    )
    .takes(typed::<market::SetReferencePrice>),
    op("POST", "/v1/accounts", OPERATION, "Open an account with its first key", json::<answers::AccountOpened>())
        .takes(typed::<accounts::OpenAccount>)
        .creates(),
    op("PUT", "/v1/accounts/{account}/tier", OPERATION, "How much an account may ask", Content::Any)
        .takes(typed::<accounts::SetTier>),
    op("GET", "/v1/rate-limit", ACCESS, "Your tier, and what is left of it", Content::Any),
    op("GET", "/v1/keys", ACCESS, "Your keys", Content::Any),
    op("POST", "/v1/keys", ACCESS, "Make a key", Content::Any).takes(typed::<keys::KeyRequest>).creates(),
    op("DELETE", "/v1/keys/{key}", ACCESS, "Revoke a key", Content::Any),
    Operation {
        body_optional: true,
        ..op("POST", "/v1/keys/{key}/rotate", ACCESS, "Replace a key's secret", Content::Any)
            .takes(typed::<keys::Rotation>)
    },
    op("GET", "/v1/keys/{key}/limits", ACCESS, "What a key may spend", Content::Any),
    op("PUT", "/v1/keys/{key}/limits", ACCESS, "Limit what a key may spend", Content::Any).takes(typed::<keys::Limits>),
    op("POST", "/api/v1/auth/register", ACCESS, "Open an account as a person", Content::Any)
        .takes(typed::<people::Credentials>)
        .creates(),
    op("POST", "/api/v1/auth/login", ACCESS, "Begin a session", Content::Any).takes(typed::<people::Credentials>),
    op("POST", "/api/v1/auth/logout", ACCESS, "End this session", Content::Any),
    op("POST", "/api/v1/auth/apikey", ACCESS, "Make a key with the password", Content::Any)
        .takes(typed::<people::MakeKey>)
        .creates(),
    op("GET", "/api/v1/auth/sessions", ACCESS, "Your sessions", Content::Any),
    op("DELETE", "/api/v1/auth/sessions/{session}", ACCESS, "End a session", Content::Any),
    Operation {
        status: "101",
        ..op("GET", "/v1/ws", MARKET, "Market data and trading over one WebSocket", Content::Text("text/plain"))
    },
    op("GET", "/v1/accounts/{account}", MONEY, "An account", json::<answers::Account>()),
    op("PUT", "/v1/accounts/{account}/credit-policy", OPERATION, "Set a credit line", json::<answers::Account>())
        .takes(typed::<accounts::SetCreditPolicy>),
    op("GET", "/v1/admin/guardrails/{account}", OPERATION, "Any account's windows", view::<answers::Spending>()),
    op("PUT", "/v1/admin/guardrails/{account}", OPERATION, "Limit a window", view::<answers::Spending>())
        .takes(typed::<guard_rails::SetGuardRail>),
    op("POST", "/v1/admin/guardrails/{account}/reset", OPERATION, "Forget spending", view::<answers::Spending>()),
    op("GET", "/v1/admin/state", OPERATION, "The state, for an auditor", json::<answers::State>()),
    op("GET", "/v1/views", OPERATION, "The hash of the views", json::<answers::Views>()),
];
