#!/bin/sh
# Installs what is missing from Debian 12's packages: deps.sh build|test|fuzz|develop|package ...
set -eu

build="gcc make pkg-config libc6-dev liblua5.4-dev libcurl4-openssl-dev libcjson-dev libssl-dev libinih-dev libsqlite3-dev libmicrohttpd-dev libexpat1-dev zlib1g-dev libzstd-dev libnats-dev libhiredis-dev libpq-dev"
test="libcmocka-dev lua-check python3-boto3 python3-pytest python3-pytest-xdist default-jre-headless npm ca-certificates zstd nats-server redis-server postgresql faketime prometheus chromium"
fuzz="clang"
develop="clang clang-format awscli"
package="build-essential debhelper lintian"

wanted=
for kind in "$@"; do
    case $kind in
        build) wanted="$wanted $build" ;;
        test) wanted="$wanted $test" ;;
        fuzz) wanted="$wanted $fuzz" ;;
        develop) wanted="$wanted $develop" ;;
        package) wanted="$wanted $package" ;;
        *) echo "deps.sh: $kind is none of build, test, fuzz, develop, package" >&2; exit 2 ;;
    esac
done

missing=
for package in $wanted; do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    # npm may have come with Node.js from elsewhere.
    [ "$package" = npm ] && command -v npm >/dev/null && status=installed
    [ "$status" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

root=
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || { echo "install these as root first:$missing" >&2; exit 1; }
    root=sudo
fi
echo "installing$missing"
export DEBIAN_FRONTEND=noninteractive
$root apt-get update -qq || true # perhaps the lists at hand are new enough
# shellcheck disable=SC2086
$root apt-get install -y -qq --no-install-recommends $missing >/dev/null
