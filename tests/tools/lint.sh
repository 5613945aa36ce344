#!/bin/sh
# make lint: two compilers with warnings as errors, clang's analyzer, the order of the rooms, the format.
set -eu
cd "$(dirname "$0")/../.."

echo "  lint  gcc and clang"
make --no-print-directory -s WERROR=1 BUILD=build/lint-gcc all units
make --no-print-directory -s WERROR=1 BUILD=build/lint-clang CC=clang all units

echo "  lint  clang's analyzer"
flags="$(pkg-config --cflags lua5.4 libcurl libcjson openssl inih sqlite3 libmicrohttpd expat zlib libzstd libnats hiredis libpq) -DTIDEMILL_NATS -DTIDEMILL_REDIS -DTIDEMILL_POSTGRES -D_GNU_SOURCE -Ihost -DTIDEMILL_VERSION=\"lint\" -DTIDEMILL_RECIPES=\"README.md\""
for file in $(find host -name '*.c' ! -name library.c); do
    # shellcheck disable=SC2086
    clang --analyze -Xclang -analyzer-werror -Xclang -analyzer-disable-checker=deadcode.DeadStores \
        -std=c11 $flags -o /dev/null "$file"
done

echo "  lint  rooms"
# From top to bottom; a room includes itself and what stands behind it.
rooms="cmd local admin core assign intake worker dispatch script route deliver handler source state lease stats record filter value aws net conf base"
below=$rooms
for room in $rooms; do
    for file in $(find "host/$room" -name '*.[ch]'); do
        # The embedded DynamoDB knows nothing of the host.
        allowed=$below
        [ "$room" != local ] || allowed="local value net base"
        for included in $(sed -n 's/^#include "\([a-z]*\)\/.*/\1/p' "$file" | sort -u); do
            case " $allowed " in
                *" $included "*) ;;
                *) echo "$file: $room may not include $included" >&2; exit 1 ;;
            esac
        done
        case $room in
            script | value) ;;
            *) ! grep -l '#include <lua' "$file" >&2 || { echo "only script/ and value/ include Lua" >&2; exit 1; } ;;
        esac
    done
    below=${below#"$room"}
    below=${below# }
done

echo "  lint  circles"
python3 tests/tools/circles.py build/lint-gcc

echo "  lint  format"
find host tests -name .deps -prune -o -name '*.[ch]' -exec clang-format --dry-run --Werror {} +
