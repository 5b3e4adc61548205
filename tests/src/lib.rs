//! End-to-end tests over the public API and the real binaries: see `tests/e2e`. This library is empty, because a
//! package needs a target.
