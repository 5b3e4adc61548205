//! Views equal the engine, whichever way the events reached them.

#[cfg(test)]
mod agreement;
