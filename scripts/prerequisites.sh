#!/usr/bin/env bash
# Installs what a build needs and this machine lacks, and says what it does. Silent when nothing is missing.
# With --kafka also what it takes to run a real Kafka broker, PostgreSQL and Stripe's stand-in: for tests, and for who wants to
# try them.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'prerequisites: %s\n' "$*"; }

if ! command -v cargo >/dev/null && [ -x "$HOME/.cargo/bin/cargo" ]; then
    say "cargo is in ~/.cargo/bin but not on the PATH: run '. ~/.cargo/env' first"
    exit 1
fi
if ! command -v cargo >/dev/null; then
    say "Rust is missing: install it from https://rustup.rs, then run this again"
    exit 1
fi

# Debian packages: C and C++ compilers, libclang for bindgen, and RocksDB itself, which saves 20 minutes of compiling.
wanted=()
{ command -v cc && command -v c++; } >/dev/null || wanted+=(build-essential)
command -v pkg-config >/dev/null || wanted+=(pkg-config)
# Not libclang-cpp, which is another library.
find /usr/lib/llvm-*/lib \( -name 'libclang.so*' -o -name 'libclang-[0-9]*.so*' \) 2>/dev/null | grep -q . || wanted+=(libclang-dev)
command -v curl >/dev/null || wanted+=(curl)
[ -e /usr/include/rocksdb/c.h ] || wanted+=(librocksdb-dev)
# Java and Maven, for the real Kafka broker of the tests and of `make kafka`, and for a consumer in Java; PostgreSQL, whose
# server the tests of the identity store start themselves; Node for OpenAI's package of it; Go for Stripe's stand-in.
if [ "${1-}" = --kafka ]; then
    command -v javac >/dev/null || wanted+=(openjdk-17-jdk-headless)
    command -v mvn >/dev/null || wanted+=(maven)
    command -v npm >/dev/null || wanted+=(nodejs npm)
    command -v go >/dev/null || wanted+=(golang-go)
    { command -v initdb || ls /usr/lib/postgresql/*/bin/initdb; } >/dev/null 2>&1 || wanted+=(postgresql)
fi
if [ ${#wanted[@]} -gt 0 ]; then
    if ! command -v apt-get >/dev/null; then
        say "this is no Debian: install the equivalents of ${wanted[*]} if the build asks for them"
    else
        as_root=()
        [ "$(id -u)" = 0 ] || as_root=(sudo)
        say "installing with apt: ${wanted[*]}"
        "${as_root[@]}" apt-get update -qq || say "apt-get update failed; trying with the lists at hand"
        for package in "${wanted[@]}"; do
            "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$package" >/dev/null ||
                say "could not install $package; going on without it"
        done
    fi
fi

# The rocksdb crate in use links RocksDB 7.x. Where Debian has it, cargo is told; elsewhere the bundled source is built.
# A file that somebody else wrote is left as it is.
config=.cargo/config.toml
marker='# Written by scripts/prerequisites.sh'
is_ours() { [ ! -e "$config" ] || [[ "$(head -n 1 "$config")" == "$marker"* ]]; }

library=$(ls -d /usr/lib/*-linux-gnu/librocksdb.so 2>/dev/null | head -n 1 || true)
if [ -n "$library" ] && grep -qs '^#define ROCKSDB_MAJOR 7$' /usr/include/rocksdb/version.h; then
    env=$(printf '[env]\nROCKSDB_LIB_DIR = "%s"\nROCKSDB_INCLUDE_DIR = "/usr/include"' "$(dirname "$library")")
    if ! is_ours; then
        # Silent where it is set already, in whatever words.
        grep -qs ROCKSDB_LIB_DIR "$config" || [ -n "${ROCKSDB_LIB_DIR-}" ] || {
            say "$config is not mine, so it stays as it is; to use the system's RocksDB, add to it:"
            printf '%s\n' "$env"
        }
    else
        mkdir -p .cargo
        printf '%s for this machine; not in git.\n%s\n' "$marker" "$env" >"$config.new"
        cmp -s "$config.new" "$config" && rm "$config.new" || { mv "$config.new" "$config"; say "using the system's RocksDB"; }
    fi
else
    if ! is_ours; then
        ! grep -qs ROCKSDB_LIB_DIR "$config" ||
            say "$config is not mine, so it stays as it is, but the ROCKSDB_LIB_DIR in it may not hold RocksDB 7"
    else
        rm -f "$config"
    fi
    say "no system RocksDB 7: compiling the bundled one, about 20 minutes on two cores the first time"
fi
