#!/bin/sh
# fuzz.sh BUILD SECONDS SEED FUZZER: lets one fuzzer run, in another order each time with seed 0. What it found is in BUILD, and how to see it again is told.
set -eu
build=$1 seconds=$2 seed=$3 fuzzer=$4
mkdir -p "$build/corpus-$fuzzer"
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 # what is undefined is a finding, kept with its input
if "$build/$fuzzer" -max_total_time="$seconds" -seed="$seed" -verbosity=0 -print_final_stats=1 -max_len=4096 -close_fd_mask=3 \
    -artifact_prefix="$build/$fuzzer-" "$build/corpus-$fuzzer" tests/fuzz/seeds >"$build/$fuzzer.log" 2>&1; then
    echo "  fuzz  $fuzzer: $(sed -n 's/^stat::number_of_executed_units: *//p' "$build/$fuzzer.log") runs in $seconds s"
else
    tail -n 50 "$build/$fuzzer.log"
    echo "$fuzzer failed; all of it in $build/$fuzzer.log, its input in $build/$fuzzer-*" >&2
    exit 255 # the others need not go on
fi
