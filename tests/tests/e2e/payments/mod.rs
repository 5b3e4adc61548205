//! Money in and out, with a double of Stripe that signs, repeats, loses and fails as the real one may.

mod buying;
mod histories;
mod notices;
mod paying_out;
mod valid;
mod wishes;
