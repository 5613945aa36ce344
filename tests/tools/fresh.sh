#!/bin/sh
# fresh.sh [COMMAND ...]: types the README's commands (make run, make test) in a bare Debian 12: a root with nothing in
# it but git, make and certificates, made with debootstrap. Needs root, debootstrap (which it installs) and a mirror.
# Where that cannot be had it says so, loudly, and ends with 3. FRESH_ROOT: where the
# roots are (default ~/.cache/tidemill-fresh); the bare one is kept for the next time.
set -eu
here=$(cd "$(dirname "$0")/../.." && pwd)
root=${FRESH_ROOT:-$HOME/.cache/tidemill-fresh}
patience=${FRESH_SECONDS:-2100}

left_out() {
    {
        echo "################################################################"
        echo "## LEFT OUT: the README's commands on a bare Debian 12: $1"
        echo "################################################################"
    } >&2
    exit 3
}

[ "$(id -u)" = 0 ] || left_out "this is not root"
command -v debootstrap >/dev/null || apt-get install -y -qq --no-install-recommends debootstrap >/dev/null 2>&1 ||
    left_out "there is no debootstrap"
unshare -m true 2>/dev/null || left_out "nothing can be mounted here"
site=$(apt-get indextargets --format '$(SITE)' 2>/dev/null | sort | head -n 1)

if [ ! -d "$root/bare" ]; then
    echo "making a bare Debian 12 in $root"
    rm -rf --one-file-system "$root/making"
    mkdir -p "$root"
    debootstrap --variant=minbase --include=ca-certificates,git,make,procps bookworm "$root/making" \
        "${site:-http://deb.debian.org/debian}" >"$root/debootstrap.log" 2>&1 ||
        left_out "debootstrap failed, see $root/debootstrap.log"
    mv "$root/making" "$root/bare"
fi

rm -rf --one-file-system "$root/fresh"
cp -a "$root/bare" "$root/fresh"
# The network as it is here: names, mirrors, certificates, proxies, the npm registry.
cp /etc/resolv.conf /etc/hosts "$root/fresh/etc/"
cp -r /etc/apt/apt.conf.d/. "$root/fresh/etc/apt/apt.conf.d/"
cp -r /usr/local/share/ca-certificates "$root/fresh/usr/local/share/" 2>/dev/null || true
cp -a /etc/ssl/certs/. "$root/fresh/etc/ssl/certs/" 2>/dev/null || true
[ ! -f "$HOME/.npmrc" ] || cp "$HOME/.npmrc" "$root/fresh/root/"
git clone -q "$here" "$root/fresh/root/project"

cat >"$root/typed.sh" <<'EOF'
set -eu
root=$1 patience=$2
shift 2
mount --make-rprivate /
mount -t proc proc "$root/fresh/proc"
mount --rbind /dev "$root/fresh/dev"
keep=$(env | grep -iE '^(https?|no)_proxy=|^npm_config_|^NODE_EXTRA_CA|^SSL_CERT' || true)
inside() { # seconds, command
    # shellcheck disable=SC2086
    timeout -k 10 "$1" chroot "$root/fresh" /usr/bin/env -i HOME=/root TERM=dumb FRESH=1 \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin $keep sh -c "cd /root/project && $2"
}
for command in "$@"; do
    echo "  fresh $command"
    start=$(date +%s)
    if [ "$command" = run ]; then
        # It goes on until it is stopped: what counts is that the main job is seen to be done.
        inside "$patience" "make run" >"$root/log" 2>&1 &
        typed=$!
        until grep -q 'stock_replenishment done' "$root/log"; do
            if ! kill -0 "$typed" 2>/dev/null; then
                tail -n 30 "$root/log"
                echo "make run failed on a bare Debian 12; all of it in $root/log" >&2
                exit 1
            fi
            sleep 1
        done
        pkill -INT -P "$typed" || true
        for process in $(pgrep -x tidemill); do # of those in there alone
            [ "$(readlink "/proc/$process/root")" != "$root/fresh" ] || kill -INT "$process" || true
        done
        wait "$typed" || true
        grep -m 1 'stock_replenishment done' "$root/log"
    else
        inside "$patience" "make $command" >"$root/log" 2>&1 || {
            tail -n 30 "$root/log"
            echo "make $command failed on a bare Debian 12 after $(($(date +%s) - start)) s; all of it in $root/log" >&2
            exit 1
        }
        tail -n 3 "$root/log"
    fi
    echo "  fresh $command: $(($(date +%s) - start)) s"
done
EOF
unshare -m sh "$root/typed.sh" "$root" "$patience" $([ $# -gt 0 ] && echo "$@" || echo run test)
