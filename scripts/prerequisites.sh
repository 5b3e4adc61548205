#!/usr/bin/env bash
# Installs what a build needs and this machine lacks, and says what it does. Silent when nothing is missing.
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

# Debian packages: a C compiler, libclang for bindgen, and RocksDB itself, which saves 20 minutes of compiling.
wanted=()
command -v cc >/dev/null || wanted+=(build-essential)
command -v pkg-config >/dev/null || wanted+=(pkg-config)
ls /usr/lib/llvm-*/lib/libclang*.so* >/dev/null 2>&1 || wanted+=(libclang-dev)
command -v curl >/dev/null || wanted+=(curl)
[ -e /usr/include/rocksdb/c.h ] || wanted+=(librocksdb-dev)
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
config=.cargo/config.toml
library=$(ls -d /usr/lib/*-linux-gnu/librocksdb.so 2>/dev/null | head -n 1 || true)
if [ -n "$library" ] && grep -qs '^#define ROCKSDB_MAJOR 7$' /usr/include/rocksdb/version.h; then
    mkdir -p .cargo
    printf '# Written by scripts/prerequisites.sh for this machine; not in git.\n[env]\nROCKSDB_LIB_DIR = "%s"\nROCKSDB_INCLUDE_DIR = "/usr/include"\n' \
        "$(dirname "$library")" >"$config.new"
    cmp -s "$config.new" "$config" && rm "$config.new" || { mv "$config.new" "$config"; say "using the system's RocksDB"; }
else
    rm -f "$config"
    say "no system RocksDB 7: compiling the bundled one, about 20 minutes on two cores the first time"
fi
