# Two commands do everything: `make run` and `make test`. Both install what is missing and say so.
.PHONY: run test build prerequisites prerequisites-kafka bench kafka scoreboard scoreboard-full clean

# Arguments for the demo, as in: make run ARGS="--speed max --exit"
ARGS ?=

run: build
	./target/release/gollem demo $(ARGS)

test: prerequisites-kafka
	scripts/test.sh

build: prerequisites
	cargo build --release --workspace --exclude gollem-tests --bins

bench: build
	./target/release/gollem-bench engine
	./target/release/gollem-bench pipeline

# What may go wrong and must not lose anything, tried: the volume of a change, and that of a release.
scoreboard: prerequisites-kafka
	cargo run --release --quiet -p gollem-tests --bin gollem-scoreboard -- $(ARGS)

scoreboard-full: prerequisites-kafka
	cargo run --release --quiet -p gollem-tests --bin gollem-scoreboard -- --full --markdown docs/reliability.md $(ARGS)

# A real broker to try things with: `gollem serve --kafka 127.0.0.1:9092`.
kafka: prerequisites-kafka
	scripts/kafka.sh start
	@echo "publish to it with:  target/release/gollem serve --kafka 127.0.0.1:9092"
	@echo "stop it with:        scripts/kafka.sh stop"

prerequisites:
	scripts/prerequisites.sh

prerequisites-kafka:
	scripts/prerequisites.sh --kafka

clean:
	cargo clean
	rm -rf demo-data
