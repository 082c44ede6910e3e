#!/usr/bin/env bash
# Fails where no test is named that looks for the audit rows of a privileged mutation.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
exec node --import tsx test/gates/audit-presence.ts
