//! The engine's rules over its public interface: cases that read as stories, and properties of random streams.

#[cfg(test)]
mod market;
#[cfg(test)]
mod money;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod render;
#[cfg(test)]
mod snapshot;
#[cfg(test)]
mod story;
#[cfg(test)]
mod table;
#[cfg(test)]
mod words;
