#!/usr/bin/env bash
# Fails where a privileged mutation of the contract leaves no row in the audit log.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
exec node --import tsx test/gates/audit-mandatory.ts
