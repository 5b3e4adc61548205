//! The double over HTTP, as its users meet it: with the client that the gateway has, with plain requests, and with a
//! webhook.

#[cfg(test)]
mod books;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod idempotency;
#[cfg(test)]
mod objects;
#[cfg(test)]
mod support;
#[cfg(test)]
mod webhooks;
