#!/usr/bin/env bash
# Prints the path of oasdiff at the pinned version; builds it once into the project's cache.
# GPUAAS_CACHE_DIR overrides the cache: /var/cache/gpuaas for root, else $XDG_CACHE_HOME/gpuaas or ~/.cache/gpuaas.
set -euo pipefail
# v1.35.0 does not install: the Go module proxy refuses one of its dependencies.
version=v1.30.0

if [ -n "${GPUAAS_CACHE_DIR:-}" ]; then cache=$GPUAAS_CACHE_DIR
elif [ "$(id -u)" = 0 ]; then cache=/var/cache/gpuaas
else cache=${XDG_CACHE_HOME:-$HOME/.cache}/gpuaas
fi
binary=$cache/bin/oasdiff-$version
if [ ! -x "$binary" ]; then
  if ! command -v go >/dev/null; then
    echo "oasdiff $version is not in $cache/bin and there is no go to build it with" >&2
    exit 2
  fi
  mkdir -p "$cache/bin"
  # Two runs at once build one after the other; the second finds the binary.
  exec 9>"$cache/bin/.oasdiff.lock"
  flock 9
  if [ ! -x "$binary" ]; then
    work=$(mktemp -d)
    trap 'chmod -R u+w "$work" && rm -rf "$work"' EXIT
    echo "building oasdiff $version, once" >&2
    if ! GOTOOLCHAIN=local GOMODCACHE=$work/mod GOCACHE=$work/cache GOBIN=$work/bin CGO_ENABLED=0 \
      go install -trimpath -ldflags='-s -w' "github.com/oasdiff/oasdiff@$version" >"$work/log" 2>&1; then
      tail -20 "$work/log" >&2
      exit 2
    fi
    cp "$work/bin/oasdiff" "$binary.new"
    mv "$binary.new" "$binary"
  fi
fi
echo "$binary"
