#!/usr/bin/env bash
# Fails where a router, a listener, a client, a publish or a delivery is outside the trace.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
exec node --import tsx test/gates/observability-trace.ts
