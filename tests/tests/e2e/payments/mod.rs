//! Money in and out, with a double of Stripe that signs, repeats, loses and fails as the real one may.

mod books;
mod buying;
mod histories;
mod kills;
mod notices;
mod paying_out;
mod postgres;
mod valid;
mod wishes;
