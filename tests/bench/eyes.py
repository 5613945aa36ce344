"""make bench-eyes: what metrics that are scraped each second and traces at 1% cost, in pairs: with and without, one after the other.
By the clock, and by the processor's time, which a busy machine changes less."""
import os
import re
import statistics
import sys
import threading
import time
import urllib.request

import common

PAIRS = int(os.environ.get("PAIRS", "9"))
PAGES = 1200


class Watched(common.Deployment):
    def __init__(self, host, **handlers):
        super().__init__(**handlers)
        self.host = host

    def configure(self, server, total):
        super().configure(server, total)
        ini = self.root / "tidemill.ini"
        ini.write_text(ini.read_text().replace("[host]\n", f"[host]\n{self.host}\n"))


def scrape(host, over):
    while not over.is_set():
        found = re.search(r"metrics are at (http://\S+?/metrics)", host.log.read_text())
        if found:
            urllib.request.urlopen(found[1]).read()
        over.wait(1)


def rate(settings, scraped):
    total = PAGES * common.RECORDS_PER_PAGE
    with Watched(settings) as deployment, common.Server(1, PAGES) as server, common.Host(server, total, deployment) as host:
        over = threading.Event()
        scraper = threading.Thread(target=scrape, args=(host, over))
        if scraped:
            scraper.start()
        begun, started = server.first(), computed(host.process.pid)  # what a start costs is not asked
        done = total / (host.done() - begun)
        used = computed(host.process.pid) - started
        over.set()
        if scraped:
            scraper.join()
        return done, total / used


QUIET = 'return { stream = "s", on_record = function() end }'
SHARDS, HANDLERS, SCRAPES = 1000, 50, 20


def crowd():
    """A scrape of many shards and handlers: milliseconds, KiB."""
    handlers = {f"h{i}": QUIET for i in range(HANDLERS - 1)}
    with Watched("listen = 127.0.0.1:0", **handlers) as deployment, common.Server(SHARDS, 0) as server, \
            common.Host(server, 1, deployment) as host:
        url, took, size = None, [], 0
        while not url:
            url = re.search(r"metrics are at (http://\S+?/metrics)", host.log.read_text())
        while server.calls() < 2 * SHARDS:  # each shard is read, and read again
            time.sleep(0.1)
        for _ in range(SCRAPES):
            begun = time.monotonic()
            size = len(urllib.request.urlopen(url[1]).read())
            took.append(time.monotonic() - begun)
            time.sleep(0.2)
        return statistics.median(took) * 1000, size / 1024


def computed(pid):
    """Seconds of the processor, of the process until now."""
    words = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def main():
    with common.Server(1, 0) as collector:  # that reads and answers, and takes little of the processors
        measure(collector)


def measure(collector):
    ways = {
        "nobody looks": ("listen = off", False),
        "metrics, scraped each second": ("listen = 127.0.0.1:0", True),
        "and traces of 1%": (f"listen = 127.0.0.1:0\notlp = {collector.url}", True),
    }
    rates = {way: [] for way in ways}
    for pair in range(PAIRS):
        for way in list(ways) if pair % 2 else reversed(list(ways)):
            common.progress(f"{way}, round {pair + 1} of {PAIRS}")
            rates[way].append(rate(*ways[way]))
    common.progress(f"{SHARDS} shards, {HANDLERS} handlers")
    took_ms, size_kib = crowd()
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    plain = rates["nobody looks"]
    for way, all_of_it in rates.items():
        shares = [statistics.median(one[i] / other[i] for one, other in zip(all_of_it, plain)) for i in range(2)]
        print(f"{way:<32} {statistics.median(one[0] for one in all_of_it):>10,.0f} records/s   {shares[0]:.3f} of what it is alone, {shares[1]:.3f} by the processor's time"
              f"{'   at least 0.98' if all_of_it is not plain else ''}")

    print(f"a scrape of {SHARDS} shards and {HANDLERS} handlers: {took_ms:.1f} ms, {size_kib:.0f} KiB   at most 20 ms and 100 KiB")


if __name__ == "__main__":
    main()
