//! The provider's side over real sockets: the mock model server, the client, the agent and the commands.
//!
//! One test binary, so that it links once. Nothing sleeps to let things happen: every wait is for a condition, with a
//! deadline.

#[cfg(test)]
mod agent;
#[cfg(test)]
mod client;
#[cfg(test)]
mod command;
#[cfg(test)]
mod fake_gateway;
#[cfg(test)]
mod mock;
#[cfg(test)]
mod mock_faults;
#[cfg(test)]
mod mock_shapes;
#[cfg(test)]
mod mock_stream;
#[cfg(test)]
mod proxy;
#[cfg(test)]
mod support;
