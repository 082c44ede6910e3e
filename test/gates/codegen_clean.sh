#!/usr/bin/env bash
# Fails when contracts/generated differs from the contract, naming each file.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
node --import tsx contracts/codegen/main.ts --check
echo 'contracts/generated is up to date'
