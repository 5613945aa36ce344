#!/bin/sh
# npm.sh NAME: fetches the packages of npm/NAME (a directory there) once and prints the directory
# whose node_modules holds them. Their whole tree is in npm/NAME/package-lock.json, by version and hash: what is
# published elsewhere tomorrow changes nothing here. A new version: edit package.json there, then
# `npm install --package-lock-only --ignore-scripts`.
set -eu

name=$1
lock=$(cd "$(dirname "$0")/npm/$name" && pwd)
home=$(dirname "$0")/../.deps/$name
mkdir -p "$home"
exec 9>"$home/.lock"
flock 9 # several test processes may ask for it at once
if ! cmp -s "$lock/package-lock.json" "$home/.fetched"; then
    echo "fetching $name" >&2
    cp "$lock/package.json" "$lock/package-lock.json" "$home/"
    # No package's own script is run: nothing here needs to be compiled (kinesalite's store in memory neither).
    tries=1
    until (cd "$home" && npm ci --no-audit --no-fund --ignore-scripts --loglevel=error >/dev/null); do
        [ $tries -lt 4 ] || { echo "cannot fetch $name (tests/tools/npm/$name) from the npm registry" >&2; exit 1; }
        sleep $((tries * 10))
        tries=$((tries + 1))
    done
    cp "$lock/package-lock.json" "$home/.fetched"
fi
cd "$home" && pwd
