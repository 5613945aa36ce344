"""What a bench found, as one table and as JSON: each figure with what it is compared with and what is asked of it."""
import json
import os
import pathlib
import sys
import time


def number(value):
    return "" if value is None else f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


class Table:
    """AGAINST=FILE, the JSON of an earlier run: its figures stand beside, as now / then."""

    def __init__(self):
        against = os.environ.get("AGAINST")
        self.before = {(row["section"], row["what"]): row["value"] for row in json.loads(pathlib.Path(against).read_text())["rows"]} if against else {}
        self.rows, self.section = [], None

    def begin(self, section, unit):
        self.section, self.unit = section, unit
        self.clear()
        print(f"\n{section} ({unit})", flush=True)
        print(f"  {'':<46} {'':>12} {'beside':>12} {'ratio':>7}  {'asked':<8}" + (f" {'now/then':>8}" if self.before else ""))

    def clear(self):
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr, flush=True)

    def add(self, what, value, beside=None, named="", asked="", ratio=None):
        """`named`: what stands beside; `ratio`: of the two, or given where it is a median of pairs; `asked`: of the ratio, or of the value."""
        if ratio is None and beside:
            ratio = value / beside
        self.rows.append(dict(section=self.section, unit=self.unit, what=what, value=value, beside=beside, named=named, ratio=ratio, asked=asked))
        then = self.before.get((self.section, what))
        self.clear()
        line = f"  {what:<46} {number(value):>12} {number(beside):>12} {number(ratio):>7}  {asked:<8}"
        if self.before:
            line += f" {number(value / then) if then else '':>8}"
        print((line + (f"  {named}" if named else "")).rstrip(), flush=True)

    def keep(self, path):
        path.write_text(json.dumps(dict(when=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), rows=self.rows), indent=1) + "\n")
