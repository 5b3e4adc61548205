#!/usr/bin/env bash
# A Python environment with the client packages our users have, and moto, which stands in for S3. Without Python the tests that need it say so and skip.
set -euo pipefail
cd "$(dirname "$0")/.."
environment=target/test-clients
packages="openai==3.52.0 moto[server]==5.2.5"

if [ "$(cat "$environment/packages" 2>/dev/null)" = "$packages" ]; then
    exit 0
fi
if ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
    if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
        echo "installing with apt: python3-venv"
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null || true
    fi
fi
echo "installing into $environment: $packages"
if ! { python3 -m venv "$environment" && "$environment/bin/pip" install --quiet --disable-pip-version-check $packages; }; then
    echo "could not install them: the tests that need them will say that they were skipped"
    exit 0
fi
echo "$packages" >"$environment/packages"
