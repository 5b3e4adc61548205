//! The first answers to orders that carried a client id, so that a resend is answered and not executed. Each account's
//! newest [`CLIENT_IDS_PER_ACCOUNT_MAX`] are remembered.

use crate::fingerprint::{Section, TrackedMap};
use crate::limits::CLIENT_IDS_PER_ACCOUNT_MAX;
use crate::{AccountId, ClientOrderId, OrderAnswer};
use std::collections::BTreeMap;

/// Remembered answers.
#[derive(Debug)]
pub(crate) struct Answers {
    answers: TrackedMap<(AccountId, ClientOrderId), OrderAnswer>,
    /// The same by age: the seq of an answer is that of its order.
    by_age: BTreeMap<(AccountId, u64), ClientOrderId>,
    counts: BTreeMap<AccountId, u32>,
}

impl Answers {
    pub(crate) fn new() -> Answers {
        Answers { answers: TrackedMap::new(Section::Answers), by_age: BTreeMap::new(), counts: BTreeMap::new() }
    }

    pub(crate) fn get(&self, account: AccountId, id: ClientOrderId) -> Option<&OrderAnswer> {
        self.answers.get(&(account, id))
    }

    /// Remembers the answer to a new id, and forgets the account's oldest if it has too many.
    pub(crate) fn remember(&mut self, account: AccountId, id: ClientOrderId, answer: OrderAnswer) {
        self.by_age.insert((account, answer.seq), id);
        self.answers.insert((account, id), answer);
        let count = self.counts.entry(account).or_default();
        *count += 1;
        if *count <= CLIENT_IDS_PER_ACCOUNT_MAX {
            return;
        }
        *count -= 1;
        let oldest = self.by_age.range((account, 0)..).next().map(|(key, id)| (*key, *id));
        let (key, id) = crate::invariant(oldest, "every answer has an age");
        self.by_age.remove(&key);
        self.answers.remove(&(account, id));
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (AccountId, ClientOrderId, &OrderAnswer)> {
        self.answers.map().iter().map(|((account, id), answer)| (*account, *id, answer))
    }

    pub(crate) fn hash(&self) -> u64 {
        self.answers.total()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{OrderId, Quantity};

    #[test]
    fn each_account_keeps_its_newest_answers() {
        let mut answers = Answers::new();
        let id = |number: u32| ClientOrderId(u128::from(number).to_le_bytes());
        let max = CLIENT_IDS_PER_ACCOUNT_MAX;
        for number in 0..=max {
            let (filled, rested) = (Quantity(0), Quantity(1));
            let answer = OrderAnswer { order: OrderId(1), seq: u64::from(number) + 1, filled, rested };
            // Ids do not ascend with time.
            answers.remember(AccountId(1), id(max - number), answer);
            if number < 3 {
                answers.remember(AccountId(2), id(number), answer);
            }
        }
        assert_eq!(answers.get(AccountId(1), id(max)), None, "the oldest is forgotten");
        assert!(answers.get(AccountId(1), id(max - 1)).is_some() && answers.get(AccountId(1), id(0)).is_some());
        assert!(answers.get(AccountId(2), id(0)).is_some(), "another account's are its own");
        assert_eq!(answers.all().count() as u32, max + 3);
    }
}
