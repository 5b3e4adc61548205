//! The engine's rules over its public interface.

#[cfg(test)]
mod market;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod scenarios;
