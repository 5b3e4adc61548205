//! Money in and out through a payment processor.

pub(crate) mod cards;
pub(crate) mod notify;
pub(crate) mod webhook;
