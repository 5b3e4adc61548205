//! What the pipeline promises to those who send commands and to those who read its events.

#[cfg(test)]
mod promises;
#[cfg(test)]
mod support;
