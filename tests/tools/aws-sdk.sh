#!/bin/sh
# Fetches AWS's SDK for JavaScript (once) and prints the directory whose node_modules holds it.
set -eu

home=${AWS_SDK_HOME:-$(dirname "$0")/../.deps/aws-sdk}
mkdir -p "$home"
exec 9>"$home/.lock"
flock 9 # several test processes may ask for it at once
version=3.600.0 # runs on Debian 12's Node.js 18
if [ ! -d "$home/node_modules/@aws-sdk/client-dynamodb-streams" ]; then
    echo "fetching AWS's SDK for JavaScript" >&2
    (cd "$home" && npm install --no-save --no-audit --no-fund --loglevel=error --prefix . \
        "@aws-sdk/client-dynamodb@$version" "@aws-sdk/client-dynamodb-streams@$version" >/dev/null) ||
        { echo "cannot fetch @aws-sdk from the npm registry" >&2; exit 1; }
fi
cd "$home" && pwd
