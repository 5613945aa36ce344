#!/bin/sh
# package.sh: makes the Debian package, and installs, upgrades, removes and purges it. Only on a machine that may be thrown away:
# tests/tools/fresh.sh package-test
set -eu
[ "${FRESH:-}" = 1 ] || { echo "package.sh installs a package: type it as tests/tools/fresh.sh package-test" >&2; exit 2; }
cd "$(dirname "$0")/../.."
export DEBIAN_FRONTEND=noninteractive

fail() {
    echo "package: $*" >&2
    exit 1
}
as_service() { setpriv --reuid=tidemill --regid=tidemill --clear-groups "$@"; }

first=$(make -s dist)
[ "$first" = "$(make -s dist)" ] || fail "two archives of one source differ"
make deb
deb=$(ls build/tidemill_*.deb)
lintian --allow-root --fail-on error,warning,info "$deb" || fail "lintian finds something"

apt-get install -y -qq --no-install-recommends "./$deb" systemd >/dev/null
tidemill --version
for file in /lib/systemd/system/tidemill.service /usr/share/man/man1/tidemill-dead.1.gz /usr/share/man/man5/tidemill.ini.5.gz \
    /usr/share/bash-completion/completions/tidemill /usr/share/tidemill/lua/meta/record.lua /etc/tidemill/scripts; do
    [ -e "$file" ] || fail "$file is missing"
done
[ "$(stat -c '%U %a' /var/lib/tidemill)" = "tidemill 750" ] || fail "/var/lib/tidemill is not the service's"
[ "$(stat -c '%G %a' /etc/tidemill)" = "tidemill 750" ] || fail "/etc/tidemill is not as the service may read it"
bash -c 'source /usr/share/bash-completion/completions/tidemill; COMP_WORDS=(tidemill dead redr); COMP_CWORD=2; _tidemill; [ "${COMPREPLY[0]}" = redrive ]' ||
    fail "bash completes nothing"
exposure=$(systemd-analyze security --offline=yes /lib/systemd/system/tidemill.service 2>/dev/null | sed -n 's/.*level for .*: \([0-9.]*\).*/\1/p')
awk -v level="$exposure" 'BEGIN { exit !(level != "" && level <= 2.0) }' || fail "systemd-analyze security: $exposure"
echo "the unit's exposure level is $exposure"

# The service, as its user, with what the example says.
cp /usr/share/tidemill/tidemill.ini.example /etc/tidemill/tidemill.ini
printf 'endpoint = http://127.0.0.1:9\n' >/tmp/endpoint && sed -i '/^region/r /tmp/endpoint' /etc/tidemill/tidemill.ini
echo 'return { stream = "products", on_record = function() end }' >/etc/tidemill/scripts/h.lua
chgrp -R tidemill /etc/tidemill && chmod -R g+rX /etc/tidemill
(cd /var/lib/tidemill && AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=x exec setpriv --reuid=tidemill --regid=tidemill --clear-groups \
    tidemill run -c /etc/tidemill/tidemill.ini >/tmp/service.log 2>&1) &
service=$!
tries=0
until as_service tidemill status -c /etc/tidemill/tidemill.ini >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ $tries -lt 100 ] || { cat /tmp/service.log; fail "the service makes no state"; }
    sleep 0.1
done
kill -TERM $service
wait $service
[ -s /var/lib/tidemill/state.db ] || fail "there is no state"
before=$(sha256sum </var/lib/tidemill/state.db)

# An upgrade keeps state and INI.
dpkg-deb -R "$deb" build/newer
sed -i 's/^Version: .*/&.1/' build/newer/DEBIAN/control
dpkg-deb -b build/newer build/newer.deb >/dev/null
apt-get install -y -qq --no-install-recommends ./build/newer.deb >/dev/null
[ "$before" = "$(sha256sum </var/lib/tidemill/state.db)" ] && [ -e /etc/tidemill/tidemill.ini ] || fail "the upgrade has changed what is ours"
as_service tidemill status -c /etc/tidemill/tidemill.ini >/dev/null || fail "the state cannot be read any more"

apt-get remove -y -qq tidemill >/dev/null
[ -e /var/lib/tidemill/state.db ] && [ ! -e /usr/bin/tidemill ] || fail "removing takes the wrong things"
apt-get purge -y -qq tidemill >/dev/null
[ ! -e /var/lib/tidemill ] || fail "purging leaves the state"
rm -rf build/newer build/newer.deb
echo "the package was made, installed, upgraded, removed and purged"
