//! Everything Stripe knows, and the two things that all its parts do: move money and tell of it.
//!
//! Invariant: whoever moves money posts an entry; a balance is the sum of its entries. `books.rs` checks it against the
//! objects. Money settles at once: there is no pending balance.
//!
//! Who pays, disputes or pays out is in `payments.rs` and `connect.rs`.

use crate::faults::mix;
use crate::objects;
use crate::records::{
    Account, Charge, Customer, Dispute, Entry, Intent, Movement, Payout, Refund, Reversal, Table, Topup, Transfer,
};
use crate::refusal::Refusal;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

/// The version of Stripe's API whose shapes these are.
pub(crate) const API_VERSION: &str = "2026-06-24.dahlia";

/// Letters of an id after its prefix.
const ID_CHARS: usize = 24;

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    seed: u64,
    ids: u64,
    pub(crate) clock_offset_s: i64,
    /// The double's own address, for onboarding links.
    pub(crate) url: String,
    /// The request being worked on, of which events tell: its id and its idempotency key.
    pub(crate) request: Option<(String, Option<String>)>,
    pub(crate) customers: Table<Customer>,
    pub(crate) intents: Table<Intent>,
    pub(crate) charges: Table<Charge>,
    pub(crate) refunds: Table<Refund>,
    pub(crate) disputes: Table<Dispute>,
    pub(crate) accounts: Table<Account>,
    pub(crate) transfers: Table<Transfer>,
    pub(crate) reversals: Table<Reversal>,
    pub(crate) payouts: Table<Payout>,
    pub(crate) topups: Table<Topup>,
    pub(crate) entries: Table<Entry>,
    /// Net of fees, of the platform (none) and of connected accounts.
    balances: BTreeMap<Option<String>, i64>,
    pub(crate) events: Vec<Value>,
}

impl Ledger {
    pub(crate) fn new(seed: u64, clock_offset_s: i64, url: String) -> Self {
        Self { seed, clock_offset_s, url, ..Self::default() }
    }

    /// Unix seconds by the double's clock.
    pub(crate) fn now(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX).saturating_add(self.clock_offset_s)
    }

    /// A new id, such as `pi_` and letters; the same for the same seed and count.
    pub(crate) fn id(&mut self, prefix: &str) -> String {
        const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        self.ids += 1;
        let mut state = mix(self.seed).wrapping_add(self.ids);
        let mut id = format!("{prefix}_");
        for _ in 0..ID_CHARS {
            state = mix(state);
            let letter = usize::try_from(state % 62).unwrap_or_default();
            id.extend(LETTERS.get(letter).map(|&byte| char::from(byte)));
        }
        id
    }

    /// Net of fees, in cents; may be negative after refunds and disputes.
    pub(crate) fn balance(&self, account: Option<&str>) -> i64 {
        self.balances.get(&account.map(str::to_owned)).copied().unwrap_or_default()
    }

    /// Moves money in the balance of `account` (none is the platform) and returns the entry's id.
    pub(crate) fn post(
        &mut self,
        account: Option<&str>,
        movement: Movement,
        amount: i64,
        fee: i64,
        source: &str,
    ) -> String {
        let id = self.id("txn");
        let account = account.map(str::to_owned);
        *self.balances.entry(account.clone()).or_default() += amount - fee;
        let (created, source) = (self.now(), source.to_owned());
        self.entries.insert(Entry { id: id.clone(), created, account, movement, amount, fee, source });
        id
    }

    /// Refuses if `account` has less than `cents`.
    pub(crate) fn require_balance(&self, account: Option<&str>, cents: i64) -> Result<(), Refusal> {
        match self.balance(account) {
            balance if balance >= cents => Ok(()),
            balance => {
                let message = format!("You have insufficient funds in your account: {balance} of {cents} cents.");
                Err(Refusal::refused("balance_insufficient", message))
            }
        }
    }

    /// Tells of an object as it is now.
    pub(crate) fn tell(&mut self, kind: &str, id: &str) {
        self.tell_of(None, kind, id);
    }

    /// Tells of an object of a connected account, or of the account itself.
    pub(crate) fn tell_of(&mut self, account: Option<&str>, kind: &str, id: &str) {
        let request = match &self.request {
            Some((id, key)) => json!({ "id": id, "idempotency_key": key }),
            None => json!({ "id": null, "idempotency_key": null }),
        };
        let mut event = json!({
            "id": self.id("evt"),
            "object": "event",
            "api_version": API_VERSION,
            "created": self.now(),
            "data": { "object": objects::render(self, id) },
            "livemode": false,
            "pending_webhooks": 1,
            "request": request,
            "type": kind,
        });
        if let (Some(account), Some(event)) = (account, event.as_object_mut()) {
            event.insert("account".to_owned(), json!(account));
        }
        self.events.push(event);
    }
}
