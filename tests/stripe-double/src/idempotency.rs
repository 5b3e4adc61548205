//! Idempotency keys: the same key with the same parameters gives the first answer again.
//!
//! A key belongs to an account (`Stripe-Account`, or the platform). It is free again if the request was refused before
//! work began; otherwise its answer is kept, also a 500 or a refusal for lack of money.

use crate::form::Form;
use crate::refusal::Refusal;
use serde_json::Value;
use std::collections::BTreeMap;

pub(crate) const KEY_CHARS_MAX: usize = 255;

/// An answer as it was given.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

/// Whose key it is, and the key.
pub(crate) type KeyOf = (Option<String>, String);

#[derive(Debug)]
struct Used {
    path: String,
    form: Form,
    /// None while the work is under way.
    answer: Option<Answer>,
}

#[derive(Debug, Default)]
pub(crate) struct Keys {
    used: BTreeMap<KeyOf, Used>,
}

impl Keys {
    /// Takes the key, or returns the answer it was used for.
    ///
    /// # Errors
    /// 400 if it was used for something else; 409 while the first request is under way.
    pub(crate) fn begin(&mut self, key: &KeyOf, path: &str, form: &Form) -> Result<Option<Answer>, Refusal> {
        if key.1.chars().count() > KEY_CHARS_MAX {
            return Err(Refusal::idempotency(400, None, "Idempotency keys have at most 255 characters"));
        }
        match self.used.get(key) {
            None => {
                let used = Used { path: path.to_owned(), form: form.clone(), answer: None };
                self.used.insert(key.clone(), used);
                Ok(None)
            }
            Some(used) if used.path != path || used.form != *form => {
                let message = "Keys for idempotent requests can only be used with the same parameters they were first \
                               used with.";
                Err(Refusal::idempotency(400, None, message))
            }
            Some(Used { answer: Some(answer), .. }) => Ok(Some(answer.clone())),
            Some(Used { answer: None, .. }) => {
                let message = "There is currently another in-progress request using this Idempotency Key.";
                Err(Refusal::idempotency(409, Some("idempotency_key_in_use"), message))
            }
        }
    }

    /// Keeps the answer for the key, or frees the key if there is none to keep.
    pub(crate) fn finish(&mut self, key: &KeyOf, answer: Option<Answer>) {
        match (answer, self.used.get_mut(key)) {
            (Some(answer), Some(used)) => used.answer = Some(answer),
            (None, _) => drop(self.used.remove(key)),
            (Some(_), None) => {}
        }
    }

    /// What Stripe does after 24 hours. Requests under way keep their keys.
    pub(crate) fn forget(&mut self) {
        self.used.retain(|_, used| used.answer.is_none());
    }
}
