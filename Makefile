# Two commands do everything: `make run` and `make test`. Both install what is missing and say so.
.PHONY: run test build prerequisites bench clean

# Arguments for the demo, as in: make run ARGS="--speed max --exit"
ARGS ?=

run: build
	./target/release/gollem demo $(ARGS)

test: prerequisites
	scripts/test.sh

build: prerequisites
	cargo build --release --bins

bench: build
	./target/release/gollem-bench engine
	./target/release/gollem-bench pipeline

prerequisites:
	scripts/prerequisites.sh

clean:
	cargo clean
	rm -rf demo-data
