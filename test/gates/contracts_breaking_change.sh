#!/usr/bin/env bash
# Refuses a change of the OpenAPI or AsyncAPI document that breaks clients or consumers, unless contracts/CHANGELOG.md
# explains it (and, for an event, its version says so).
# Base: $CONTRACT_BASE where it is set (`none`: nothing is compared, and that is said); otherwise the last commit, and in a clean tree the point where the branch left
# its upstream, or the commit before the last one where there is no upstream.
# Exit code 0: nothing unexplained; 1: refused; 2: the base is not there, as in a clone without history.
# Usage: contracts_breaking_change.sh [repository]
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "${1:-$here/../..}" && pwd)
changelog=contracts/CHANGELOG.md
in_repository() { git -C "$root" "$@"; }

fail() { echo "contracts_breaking_change: $1" >&2; exit 2; }
commit_of() { in_repository rev-parse --verify --quiet "$1^{commit}"; }
in_repository rev-parse --git-dir >/dev/null || fail "$root is no repository"

# Sets base; empty where there is no earlier commit. What cannot be compared is an error, never a pass.
find_base() {
  if [ "${CONTRACT_BASE:-}" = none ]; then
    echo 'NOT COMPARED: CONTRACT_BASE is none'
    exit 0
  fi
  if [ -n "${CONTRACT_BASE:-}" ]; then
    commit_of "$CONTRACT_BASE" >/dev/null || fail "there is no commit $CONTRACT_BASE; fetch it, or correct CONTRACT_BASE"
    base=$CONTRACT_BASE
    return
  fi
  base=
  commit_of HEAD >/dev/null || return 0
  local changes left
  changes=$(in_repository status --porcelain) || fail 'the state of the tree cannot be read'
  if [ -n "$changes" ]; then base=HEAD; return; fi
  left=$(in_repository merge-base HEAD '@{upstream}' 2>/dev/null || true)
  if [ -n "$left" ] && [ "$left" != "$(commit_of HEAD)" ]; then base=$left; return; fi
  if commit_of HEAD~1 >/dev/null; then base=HEAD~1; return; fi
  if [ "$(in_repository rev-parse --is-shallow-repository)" = true ]; then
    fail 'the history ends before the base: fetch more of it (git fetch --unshallow), or set CONTRACT_BASE'
  fi
}
find_base
if [ -z "$base" ]; then
  echo 'no earlier commit: nothing to compare with'
  exit 0
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
in_repository show "$base:$changelog" >"$work/base.md" 2>/dev/null || : >"$work/base.md"
if [ -f "$root/$changelog" ]; then cp "$root/$changelog" "$work/now.md"; else : >"$work/now.md"; fi

# Says whether there is something to compare, and puts the base's version into $work.
changed() {
  local document=$1
  if [ ! -f "$root/$document" ] && ! in_repository cat-file -e "$base:$document" 2>/dev/null; then return 1; fi
  if ! in_repository cat-file -e "$base:$document" 2>/dev/null; then
    echo "first version of $document: nothing to compare with"
    return 1
  fi
  in_repository show "$base:$document" >"$work/base.yaml"
  if cmp -s "$work/base.yaml" "$root/$document"; then
    echo "$document is as in $base"
    return 1
  fi
}
failed=0
judge() { if (cd "$here/../.." && node --import tsx "$@"); then echo "$document compared with $base: no unexplained breaking change"; else failed=1; fi; }

document=contracts/generated/openapi.yaml
if changed "$document"; then
  oasdiff=$("$here/oasdiff.sh")
  "$oasdiff" breaking --allow-external-refs=false --format json "$work/base.yaml" "$root/$document" >"$work/report.json"
  judge test/gates/breaking-changes.ts "$work/report.json" "$work/base.md" "$work/now.md"
fi
document=contracts/generated/asyncapi.yaml
if changed "$document"; then
  judge test/gates/event-changes.ts "$work/base.yaml" "$root/$document" "$work/base.md" "$work/now.md"
fi
exit "$failed"
