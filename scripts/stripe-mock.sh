#!/usr/bin/env bash
# Stripe's own stand-in for its API, for tests: it checks requests against Stripe's published description of the API and
# answers with samples. It remembers nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

# Their newest; it needs Go of this version at least, and Debian's may be older.
version=v0.203.0
go_version=1.22.12

folder=$PWD/target/stripe-mock
program=$folder/bin/stripe-mock

usage() {
    cat <<'END_OF_USAGE'
usage: scripts/stripe-mock.sh fetch

  fetch    builds target/stripe-mock/bin/stripe-mock with Go, once
END_OF_USAGE
}

say() { printf 'stripe-mock: %s\n' "$*"; }
fail() { printf 'stripe-mock: %s\n' "$*" >&2; exit 1; }

# Whether version $1 is at least version $2.
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$2" ]; }

# Everything Go keeps stays in the folder, where it is written to be removed again.
in_folder() {
    env GOBIN="$folder/bin" GOPATH="$folder/go" GOCACHE="$folder/cache" GOFLAGS='-modcacherw -buildvcs=false' CGO_ENABLED=0 "$@"
}

# The newer Go, as the module proxy has it: Go before 1.21 does not fetch it by itself. Its checksum is checked like any module's.
newer_go() {
    local module root
    module=golang.org/toolchain@v0.0.1-go$go_version.$(go env GOOS)-$(go env GOARCH)
    root=$folder/go/pkg/mod/$module
    say "fetching Go $go_version, since the one here is $(go env GOVERSION)" >&2
    (cd "$folder" && in_folder go mod download "$module") >&2 || return
    # Go before 1.21 lets nothing in a module be run.
    chmod -R u+x "$root/bin" "$root/pkg/tool" || return
    echo "$root"
}

fetch() {
    [ "$(cat "$folder/version" 2>/dev/null)" = "$version" ] && [ -x "$program" ] && return
    command -v go >/dev/null || fail "no Go: install golang-go (make prerequisites-kafka does)"
    mkdir -p "$folder"
    say "building $version into target/stripe-mock, once"
    local have root
    have=$(go env GOVERSION)
    if at_least "${have#go}" "$go_version"; then
        in_folder go install "github.com/stripe/stripe-mock@$version" || fail "Go could not build it: its words are above"
    else
        root=$(newer_go) || fail "Go $go_version could not be fetched: Go's words are above"
        in_folder GOROOT="$root" GOTOOLCHAIN=local "$root/bin/go" install "github.com/stripe/stripe-mock@$version" ||
            fail "Go could not build it: its words are above"
    fi
    # What it took to build is a gigabyte.
    rm -rf "$folder/go" "$folder/cache"
    echo "$version" >"$folder/version"
}

case ${1-} in
    fetch) fetch ;;
    -h | --help) usage ;;
    *)
        usage >&2
        exit 2
        ;;
esac
