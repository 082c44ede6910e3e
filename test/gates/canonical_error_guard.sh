#!/usr/bin/env bash
# Fails where an error is made that contracts/errors.ts does not know, or an error answer is written by hand.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
exec node --import tsx test/gates/canonical-errors.ts
