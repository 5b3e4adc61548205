# Two commands do everything: `make run` and `make test`. Both install what is missing and say so.
.PHONY: run test build prerequisites bench scoreboard scoreboard-full clean

# Arguments for the demo, as in: make run ARGS="--speed max --exit"
ARGS ?=

run: build
	./target/release/gollem demo $(ARGS)

test: prerequisites
	scripts/test.sh

build: prerequisites
	cargo build --release --workspace --exclude gollem-tests --bins

bench: build
	./target/release/gollem-bench engine
	./target/release/gollem-bench pipeline

# What may go wrong and must not lose anything, tried: the volume of a change, and that of a release.
scoreboard: prerequisites
	cargo run --release --quiet -p gollem-tests --bin gollem-scoreboard -- $(ARGS)

scoreboard-full: prerequisites
	cargo run --release --quiet -p gollem-tests --bin gollem-scoreboard -- --full --markdown docs/reliability.md $(ARGS)

prerequisites:
	scripts/prerequisites.sh

clean:
	cargo clean
	rm -rf demo-data
