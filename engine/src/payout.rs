//! Payouts: earnings on their way from a provider's account to its bank.
//!
//! requested (earned -> pending) -> sent (the processor has it) -> confirmed (pending -> external) or failed (pending ->
//! earned); what ends before it was marked as sent was sent all the same. A confirmed one may be returned (external ->
//! earned), so confirmed ones are kept for ever; failed and returned ones are forgotten.
//! Only whole cents leave; the rest stays earned.

use crate::calendar::next_month;
use crate::deadlines::Deadline;
use crate::engine::Policies;
use crate::{
    ATOMS_PER_CENT, AccountId, Amount, Engine, Event, Events, LedgerAccount, PayoutId, PayoutPolicy, RejectReason,
    Timestamp, Transfer, TransferCode,
};
use bincode::de::Decoder;
use bincode::enc::Encoder;
use bincode::error::{AllowedEnumVariants, DecodeError, EncodeError};
use bincode::{Decode, Encode};

/// Where a payout is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PayoutStatus {
    /// Pending: it waits to be sent.
    Requested,
    /// Pending: the processor has it.
    Sent,
    /// It was paid; it may still come back.
    Confirmed,
}

/// One byte. It was a flag once, whether the payout was sent: so pending payouts have the bytes, and states the hash, they
/// had then.
impl Encode for PayoutStatus {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        (*self as u8).encode(encoder)
    }
}

impl<C> Decode<C> for PayoutStatus {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<PayoutStatus, DecodeError> {
        match u8::decode(decoder)? {
            0 => Ok(PayoutStatus::Requested),
            1 => Ok(PayoutStatus::Sent),
            2 => Ok(PayoutStatus::Confirmed),
            found => Err(DecodeError::UnexpectedVariant {
                type_name: "PayoutStatus",
                allowed: &AllowedEnumVariants::Range { min: 0, max: 2 },
                found: found.into(),
            }),
        }
    }
}

bincode::impl_borrow_decode!(PayoutStatus);

/// A payout that is pending or was confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Payout {
    /// The provider.
    pub account: AccountId,
    /// Whole cents.
    pub amount: Amount,
    /// Where it is.
    pub status: PayoutStatus,
}

impl Payout {
    /// Whether its money is still on its way out.
    pub fn is_pending(&self) -> bool {
        self.status != PayoutStatus::Confirmed
    }
}

impl Engine {
    pub(crate) fn request_payout(
        &mut self,
        account: AccountId,
        amount: Option<Amount>,
        events: &mut Events,
    ) -> Result<(), RejectReason> {
        let earned = self.ledger.balance(account).ok_or(RejectReason::UnknownAccount)?.earned;
        self.check_owes_nothing(account)?;
        let max = earned.whole_cents();
        let amount = amount.unwrap_or(max);
        if amount.0 < ATOMS_PER_CENT || amount > max {
            return Err(RejectReason::PayoutOutOfRange { min: Amount(ATOMS_PER_CENT), max });
        }
        if amount != amount.whole_cents() {
            return Err(RejectReason::PayoutNotWholeCents);
        }
        self.start_payout(account, amount, events);
        Ok(())
    }

    pub(crate) fn start_payout(&mut self, account: AccountId, amount: Amount, events: &mut Events) {
        let payout = PayoutId(self.next_payout);
        self.next_payout += 1;
        self.payouts.insert(payout, Payout { account, amount, status: PayoutStatus::Requested });
        events.push(Event::PayoutRequested { payout, account, amount });
        let transfer = Transfer {
            debit: LedgerAccount::Earned(account),
            credit: LedgerAccount::PayoutPending(account),
            amount,
            code: TransferCode::PayoutRequest,
        };
        self.ledger.transfer(transfer, events);
    }

    fn pending_payout(&self, id: PayoutId) -> Result<Payout, RejectReason> {
        self.payouts.get(&id).copied().filter(Payout::is_pending).ok_or(RejectReason::UnknownPayout)
    }

    /// Notes that the processor took a pending payout on.
    pub(crate) fn send_payout(&mut self, id: PayoutId, events: &mut Events) -> Result<(), RejectReason> {
        let payout = self.pending_payout(id)?;
        if payout.status == PayoutStatus::Sent {
            return Err(RejectReason::PayoutAlreadySent);
        }
        self.payouts.insert(id, Payout { status: PayoutStatus::Sent, ..payout });
        events.push(Event::PayoutSent { payout: id, account: payout.account, amount: payout.amount });
        Ok(())
    }

    /// Ends a pending payout: it was paid, or it failed and its earnings return.
    pub(crate) fn end_payout(&mut self, id: PayoutId, paid: bool, events: &mut Events) -> Result<(), RejectReason> {
        let Payout { account, amount, .. } = self.pending_payout(id)?;
        let (event, credit, code) = if paid {
            self.payouts.insert(id, Payout { account, amount, status: PayoutStatus::Confirmed });
            (
                Event::PayoutConfirmed { payout: id, account, amount },
                LedgerAccount::External,
                TransferCode::PayoutConfirm,
            )
        } else {
            self.payouts.remove(&id);
            (
                Event::PayoutFailed { payout: id, account, amount },
                LedgerAccount::Earned(account),
                TransferCode::PayoutReturn,
            )
        };
        events.push(event);
        self.ledger.transfer(Transfer { debit: LedgerAccount::PayoutPending(account), credit, amount, code }, events);
        Ok(())
    }

    /// Takes a confirmed payout back: its money is here again, and earned.
    pub(crate) fn return_payout(&mut self, id: PayoutId, events: &mut Events) -> Result<(), RejectReason> {
        let confirmed = self.payouts.get(&id).copied().filter(|payout| !payout.is_pending());
        let Payout { account, amount, .. } = confirmed.ok_or(RejectReason::UnknownPayout)?;
        self.check_room(account, amount)?;
        self.payouts.remove(&id);
        events.push(Event::PayoutReturned { payout: id, account, amount });
        let (debit, credit) = (LedgerAccount::External, LedgerAccount::Earned(account));
        self.ledger.transfer(Transfer { debit, credit, amount, code: TransferCode::PayoutReturn }, events);
        Ok(())
    }

    pub(crate) fn set_payout_policy(
        &mut self,
        account: AccountId,
        policy: PayoutPolicy,
        at: Timestamp,
        events: &mut Events,
    ) -> Result<(), RejectReason> {
        self.known_account(account)?;
        self.policies.upsert(account, |policies: &mut Policies| policies.payout = policy);
        events.push(Event::PayoutPolicySet { account, policy });
        if policy.monthly && self.sweep_at.is_none() {
            self.set_sweep(next_month(at));
        }
        Ok(())
    }

    fn set_sweep(&mut self, at: Timestamp) {
        self.sweep_at = Some(at);
        self.deadlines.set(at, Deadline::Sweep);
    }

    /// A month began: pays out to everyone who wants that, oldest account first.
    pub(crate) fn sweep(&mut self, now: Timestamp, events: &mut Events) {
        let monthly = self.policies.map().iter().filter(|(_, policies)| policies.payout.monthly);
        let payable = |account: &AccountId| {
            let balance = self.ledger.balance(*account)?;
            let amount = balance.earned.whole_cents();
            (balance.owed.0 == 0 && amount.0 > 0).then_some((*account, amount))
        };
        let due: Vec<(AccountId, Amount)> = monthly.filter_map(|(account, _)| payable(account)).collect();
        for (account, amount) in due {
            self.start_payout(account, amount, events);
        }
        self.set_sweep(next_month(now));
    }

    /// When an account's earnings are paid out without being asked for.
    pub fn payout_policy(&self, account: AccountId) -> PayoutPolicy {
        self.policies.get(&account).map_or(PayoutPolicy::default(), |policies| policies.payout)
    }
}
