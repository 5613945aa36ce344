#!/usr/bin/env python3
"""Which files of a room use each other's functions in a circle, by what the linker sees: circles.py BUILD.

Fails where there is one that is not known; those that are known are to go, and none is to come back."""
import collections
import pathlib
import subprocess
import sys

KNOWN = set()


def arrows(build):
    """file -> file -> the symbols it takes from there."""
    defined, wanted = {}, collections.defaultdict(set)
    for path in sorted((build / "host").rglob("*.o")):
        file = str(path.relative_to(build / "host"))[:-2]
        if not pathlib.Path("host", file + ".c").exists():
            continue  # built before the file was moved
        for line in subprocess.run(["nm", path], capture_output=True, text=True, check=True).stdout.splitlines():
            kind, symbol = line[17:18], line[19:]
            if kind == "U":
                wanted[file].add(symbol)
            elif kind in "TDBRVW":
                defined[symbol] = file
    found = collections.defaultdict(lambda: collections.defaultdict(set))
    for file, symbols in wanted.items():
        for symbol in symbols:
            if defined.get(symbol, file) != file:
                found[file][defined[symbol]].add(symbol)
    return found


def reached(found, file):
    seen, waiting = set(), [file]
    while waiting:
        for other in found.get(waiting.pop(), {}):
            if other not in seen:
                seen.add(other)
                waiting.append(other)
    return seen


def circles(found):
    """Tarjan would be faster; there are few hundred files."""
    below = {file: reached(found, file) for file in list(found)}
    return {frozenset(other for other in below[file] if file in below.get(other, ())) for file in below if file in below[file]}


def main():
    found, unknown = arrows(pathlib.Path(sys.argv[1])), False
    for circle in sorted(circles(found), key=sorted):
        rooms = {file.split("/")[0] for file in circle}
        if rooms <= KNOWN:
            continue
        unknown = True
        for file in sorted(circle):
            for other, symbols in sorted(found[file].items()):
                if other in circle:
                    print(f"{file} -> {other}: {' '.join(sorted(symbols))}", file=sys.stderr)
    if unknown:
        sys.exit("files that depend on each other in a circle")


main()
