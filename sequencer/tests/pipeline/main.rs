//! What the pipeline promises to those who send commands and to those who read its events.

#[cfg(test)]
mod full_disk;
#[cfg(test)]
mod promises;
#[cfg(test)]
mod snapshots;
#[cfg(test)]
mod support;
#[cfg(test)]
mod ways;
