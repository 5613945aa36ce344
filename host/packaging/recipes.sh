#!/bin/sh
# recipes.sh FILE: what `tidemill init --recipe` writes, as a tar that the binary carries: each of the deployments below
# with its README, scripts, events and tests, as it stands for itself in a directory of its own.
set -eu
recipes="stock_replenishment search_index crm_sync slack_notify signup_email aggregate_counts job_scheduler event_bus data_lake ttl_archive ttl_timers change_history table_copy"
out=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for name in $recipes; do
    cp -RL "examples/$name" "$work/$name"
done
for path in examples/ported/*/tidemill.ini; do
    name=$(basename "$(dirname "$path")")
    cp -RL "examples/ported/$name" "$work/$name"
done
for test in scripts/*_test.lua; do
    script=$(basename "$test" _test.lua)
    for directory in "$work"/*/; do
        if [ -f "$directory/scripts/$script.lua" ]; then
            cp "$test" "$directory/scripts/"
            sed -i 's|^test\.deployment "\.\./examples/[a-z_]*/tidemill\.ini"|test.deployment "../tidemill.ini"|' "$directory/scripts/${script}_test.lua"
        fi
    done
done
rm -rf "$work"/*/lake "$work"/*/archive "$work"/*/failures "$work"/*/.tidemill
tar --sort=name --format=ustar --mtime=@0 --owner=0 --group=0 --numeric-owner --mode=u=rw,go=r -C "$work" -cf "$out" .
