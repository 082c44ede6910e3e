#!/usr/bin/env bash
# Refuses a change of the OpenAPI document that breaks clients, unless contracts/CHANGELOG.md explains it.
# In a clean tree the last commit is compared with the one before it, otherwise the tree with the last commit.
# Usage: contracts_breaking_change.sh [repository]
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "${1:-$here/../..}" && pwd)
document=contracts/generated/openapi.yaml
changelog=contracts/CHANGELOG.md

base=HEAD
if [ -z "$(git -C "$root" status --porcelain)" ]; then base=HEAD~1; fi
if ! git -C "$root" cat-file -e "$base:$document" 2>/dev/null; then
  echo "first version of $document: nothing to compare with"
  exit 0
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
git -C "$root" show "$base:$document" >"$work/base.yaml"
git -C "$root" show "$base:$changelog" >"$work/base.md" 2>/dev/null || : >"$work/base.md"
if [ -f "$root/$changelog" ]; then cp "$root/$changelog" "$work/now.md"; else : >"$work/now.md"; fi

if cmp -s "$work/base.yaml" "$root/$document"; then
  echo "$document is as in $base"
  exit 0
fi
oasdiff=$("$here/oasdiff.sh")
"$oasdiff" breaking --allow-external-refs=false --format json "$work/base.yaml" "$root/$document" >"$work/report.json"
(cd "$here/../.." && node --import tsx test/gates/breaking-changes.ts "$work/report.json" "$work/base.md" "$work/now.md")
echo "$document compared with $base: no unexplained breaking change"
