#!/usr/bin/env bash
# Everything that must hold before a commit lands: format, lints, tests, docs, the scoreboard. The last line is the count
# of tests and of rows of the scoreboard.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s (%ss)\n' "$*" "$SECONDS"; }

step "format"
cargo fmt --all --check

step "clippy"
cargo clippy --workspace --all-targets --quiet -- -D warnings

step "docs"
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet

step "client packages for the end-to-end tests"
scripts/test-clients.sh

step "a real Kafka broker's files"
scripts/kafka.sh fetch || echo "the tests that need a broker will say that they were skipped"

step "Stripe's own stand-in for its API"
scripts/stripe-mock.sh fetch || echo "the tests that need it will say that they were skipped"

log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0

step "the engine against its naive twin, a million random commands; its allocations"
cargo test --release -p gollem-engine --features naive --test twin --test allocations 2>&1 | tee "$log" || status=$?

step "the journal is killed at each of its crash points"
cargo test -p gollem-journal --features crash-points,sim --test crash_points 2>&1 | tee -a "$log" || status=$?

step "tests"
GOLLEM_TEST_PYTHON="$PWD/target/test-clients/bin/python" cargo test --workspace --no-fail-fast 2>&1 | tee -a "$log" || status=$?

step "the reliability scoreboard"
cargo run --quiet -p gollem-tests --bin gollem-scoreboard 2>&1 | tee -a "$log" || status=$?

grep -h 'skipped:' "$log" || true
# Once more at the end, where it is seen first: what failed and the first words of why.
grep -hE -A 2 '^test .* FAILED$|panicked at |^row .* FAILED: ' "$log" | cut -c 1-600 | tail -n 40 || true
passed=$(awk '/^test result:/ { n += $4 } /^scoreboard:/ { n += $2 } END { print n + 0 }' "$log")
failed=$(awk '/^test result:/ { n += $6 } /^scoreboard:/ { n += $4 } END { print n + 0 }' "$log")
skipped=$(grep -c 'skipped:' "$log" || true)
printf '\n%s passed, %s failed, %s skipped\n' "$passed" "$failed" "$skipped"
if [ -n "${GOLLEM_NOTHING_SKIPPED-}" ] && [ "$skipped" -gt 0 ]; then
    status=1
fi
exit "$status"
