#!/bin/sh
# fuzz.sh BUILD SECONDS FUZZER: lets one fuzzer run. What it found is in BUILD, and how to see it again is told.
set -eu
build=$1 seconds=$2 fuzzer=$3
mkdir -p "$build/corpus-$fuzzer"
if "$build/$fuzzer" -max_total_time="$seconds" -verbosity=0 -print_final_stats=1 -max_len=4096 -close_fd_mask=3 \
    -artifact_prefix="$build/$fuzzer-" "$build/corpus-$fuzzer" tests/fuzz/seeds >"$build/$fuzzer.log" 2>&1 &&
    ! grep -q "runtime error" "$build/$fuzzer.log"; then
    echo "  fuzz  $fuzzer: $(sed -n 's/^stat::number_of_executed_units: *//p' "$build/$fuzzer.log") runs in $seconds s"
else
    tail -n 50 "$build/$fuzzer.log"
    echo "$fuzzer failed; all of it in $build/$fuzzer.log, its input in $build/$fuzzer-*" >&2
    exit 255 # the others need not go on
fi
