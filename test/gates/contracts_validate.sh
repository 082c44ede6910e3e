#!/usr/bin/env bash
# Lints the generated documents with Spectral; a warning fails too.
# Usage: contracts_validate.sh [document ...]
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
documents=("$@")
if [ ${#documents[@]} -eq 0 ]; then
  documents=("$root/contracts/generated/openapi.yaml" "$root/contracts/generated/asyncapi.yaml")
fi
exec node "$root/node_modules/@stoplight/spectral-cli/dist/index.js" lint \
  --ruleset "$root/test/gates/spectral.yaml" --fail-severity=warn "${documents[@]}"
