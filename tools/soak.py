#!/usr/bin/env python3
"""A long run with random faults. `docs/evidence.md` has the results.

    tools/soak.py --rig RIG [--minutes 30] [--rate 50000] [--seed 1] [--write] SPANSIEVE

RIG is the folder of the benchmark rig, whose programs are built (`RIG_OUT`). The daemon has a spool. Every ten to
thirty seconds there is one of these faults, selected by the seed: the sink is away for 1 to 60 s, is slow, or answers
RESOURCE_EXHAUSTED; the daemon is restarted (SIGTERM); the load is five times as high for five seconds; hostile clients
run for twenty seconds. Senders retry refused requests. At the end the script prints one JSON line: spans acknowledged
and exported, the span counts over all processes, memory by the minute. The exit code is 1 if a promise was broken.
"""
import argparse, json, os, random, re, signal, sys, threading, time

import harness
from harness import Hostile, Spansieve, Truth, loadgen, scrape, until

DOCUMENT = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "docs", "evidence.md")
BEGIN, END = "<!-- soak.py: begin -->", "<!-- soak.py: end -->"
# Seconds of one run of the load generator. Runs follow each other, and the results of each are added at its end.
PIECE_S = 60
# Maximum slope of resident memory over the last two thirds of the run. Faults move the memory up and down by a hundred
# MiB, so only the part of a slope beyond twice its standard error counts.
SLOPE_MIB_PER_MINUTE = 1.0

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("spansieve")
parser.add_argument("--rig", required=True)
parser.add_argument("--minutes", type=float, default=30)
parser.add_argument("--rate", type=float, default=50_000, help="spans a second")
parser.add_argument("--container", type=int, default=1024, help="the container's memory in MiB")
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--write", action="store_true", help="write the result in docs/evidence.md")


class Soak:
    """The daemon, its load, and the faults."""

    def __init__(self, args):
        self.args, self.random, self.truth = args, random.Random(args.seed), Truth()
        self.daemon = Spansieve(args.spansieve, container_mib=args.container, spool="8GiB")
        self.load_failed = None
        self.faults, self.memory_mib, self.over = {}, [], threading.Event()

    def load(self):
        """Sends spans at the rate until the time is over. Each request is repeated until it is accepted."""
        try:
            while not self.over.is_set():
                loadgen(self.truth, "--rate", self.args.rate, "--duration", PIECE_S, *PATIENCE)()
        except (SystemExit, ValueError) as failure:
            self.load_failed = f"the load ended: {failure}"

    def watch_memory(self):
        while not self.over.wait(1):
            self.memory_mib.append(self.daemon.process.mem())

    # === Faults: each function returns when its fault is over ===

    def sink(self, query):
        harness.rig.get(harness.rig.FAKE_HTTP, f"/set?{query}")

    def sink_away(self):
        seconds = self.random.randint(1, 60)
        self.sink(f"down_ms={seconds * 1000}")
        time.sleep(seconds)

    def sink_slow(self):
        self.sink(f"delay_ms={self.random.randint(100, 2000)}")
        time.sleep(self.random.randint(5, 20))
        self.sink("delay_ms=0")

    def sink_exhausted(self):
        self.sink(f"code=8&rate={self.random.uniform(0.2, 1)}&for_ms=10000")
        time.sleep(10)

    def restart(self):
        code, seconds = self.daemon.signal(signal.SIGTERM)
        self.exits.append((code, seconds))
        self.begin()

    def burst(self):
        loadgen(self.truth, "--rate", 5 * self.args.rate, "--duration", 5, *PATIENCE)()

    def hostile(self):
        clients = Hostile(each=4)
        time.sleep(20)
        clients.stop()

    def begin(self):
        self.daemon.start()
        self.truth.settled("sent", 1)
        self.truth.settled("acked", 1, ack_s=0)

    def run(self):
        self.exits = []
        self.begin()
        threads = [threading.Thread(target=work, daemon=True) for work in (self.load, self.watch_memory)]
        for thread in threads:
            thread.start()
        ends = time.monotonic() + 60 * self.args.minutes
        kinds = [self.sink_away, self.sink_slow, self.sink_exhausted, self.restart, self.burst, self.hostile]
        while time.monotonic() < ends:
            fault = self.random.choice(kinds)
            self.faults[fault.__name__] = self.faults.get(fault.__name__, 0) + 1
            fault()
            time.sleep(self.random.uniform(10, 30))
        self.over.set()
        for thread in threads:
            thread.join()
        drained_s = until(lambda: scrape().undecided_or_unwritten() == 0, 300)
        return self.result(drained_s)

    def result(self, drained_s):
        gone, torn = self.truth.missing()
        sink = harness.rig.stats()
        code, seconds = self.daemon.signal(signal.SIGTERM)
        books = all_books(self.daemon.log)
        result = {
            "minutes": self.args.minutes, "rate": self.args.rate, "seed": self.args.seed, "faults": self.faults,
            "sent": self.truth.sent, "acked": self.truth.acked, "refused": self.truth.refused, "unknown": self.truth.lost,
            "must_keep": len(self.truth.must_keep), "missing": gone, "torn": torn,
            "exported": sink["spans"], "twice": sink["dup_spans"],
            "exits": self.exits + [(code, seconds)], "drained_s": drained_s, "books": books,
            "peak_mib": self.daemon.memory_peak_mib(), "container_mib": self.args.container,
            "mib_by_minute": [round(mean(self.memory_mib[at : at + 60])) for at in range(0, len(self.memory_mib), 60)],
        }
        by_minute = result["mib_by_minute"]
        result["slope_mib_per_minute"], result["slope_error"] = slope(by_minute[len(by_minute) // 3 :])
        return result | {"broken": promises(result) + [self.load_failed] * bool(self.load_failed)}


# The senders' retries last longer than any fault.
PATIENCE = ["--retries", 1200, "--timeout-ms", 15_000]


def all_books(log):
    """Returns the sums of the span counts that end the log of every process."""
    total = {}
    with open(log) as lines:
        for line in lines:
            if '"Stopped.' in line:
                for term in ("received", "recovered", "exported", "sampled_out", "handed_over", "rejected", "dropped", "held"):
                    total[term] = total.get(term, 0) + int(re.search(rf'"{term}":(\d+)', line)[1])
                total["held_last"] = int(re.search(r'"held":(\d+)', line)[1])
    return total


def promises(result):
    """Returns the broken promises as text."""
    books = result["books"]
    came = books["received"] + books["recovered"]
    became = sum(books[term] for term in ("exported", "sampled_out", "handed_over", "rejected", "dropped", "held"))
    arrived_unconfirmed = result["exported"] - books["exported"]
    # Spans that were received, although the sender got no answer.
    sent_again = books["received"] - result["acked"]
    steep = result["slope_mib_per_minute"] - 2 * result["slope_error"] > SLOPE_MIB_PER_MINUTE
    checks = [
        (came == became, f"{came - became} spans unaccounted for"),
        (sent_again >= 0, f"{result['acked']} acknowledged, {books['received']} received"),
        (books["held"] - books["held_last"] == books["recovered"], "a process did not find what the one before left"),
        # A call that a stop cut off may have arrived. Its spans then come again from the spool.
        (0 <= arrived_unconfirmed <= result["twice"], f"{books['exported']} exported, {result['exported']} arrived"),
        (result["twice"] <= arrived_unconfirmed + sent_again, f"{result['twice']} spans came twice"),
        (result["drained_s"] is not None, "spans are stuck"),
        (books["dropped"] == 0, f"{books['dropped']} dropped"),
        (result["missing"] == 0, f"{result['missing']} error or slow traces missing"),
        (result["peak_mib"] <= result["container_mib"], f"{result['peak_mib']} MiB resident"),
        (result["minutes"] < 10 or not steep, f"memory grows by {result['slope_mib_per_minute']} MiB a minute"),
        (all(code == 0 for code, _ in result["exits"]), f"exits: {result['exits']}"),
    ]
    return [words for kept, words in checks if not kept]


def mean(values):
    return sum(values) / len(values)


def slope(values):
    """Returns the slope of the best-fitting line for one step, and its standard error."""
    if len(values) < 3:
        return 0.0, 0.0
    middle, average = (len(values) - 1) / 2, mean(values)
    spread = sum((at - middle) ** 2 for at in range(len(values)))
    rise = sum((at - middle) * (value - average) for at, value in enumerate(values)) / spread
    beside = sum((value - average - rise * (at - middle)) ** 2 for at, value in enumerate(values))
    return round(rise, 2), round((beside / (len(values) - 2) / spread) ** 0.5, 2)


def paragraph(result):
    faults = ", ".join(f"{kind.replace('_', ' ')} {times}" for kind, times in sorted(result["faults"].items()))
    books = result["books"]
    return (
        f"{result['minutes']:g} minutes at {result['rate']:,.0f} spans/s, seed {result['seed']}, faults: {faults}. "
        f"Of {result['sent']:,} spans sent {result['acked']:,} were acknowledged, and {books['received']:,} received (the rest of {result['unknown']:,} were on connections that broke). "
        f"{result['must_keep'] - result['missing']:,} of {result['must_keep']:,} error and slow traces arrived, {result['torn']:,} not whole; {result['twice']:,} spans came twice. "
        f"Over {len(result['exits'])} processes: {books['received']:,} received = {books['exported']:,} exported + {books['sampled_out']:,} sampled out + {books['rejected']:,} rejected + {books['dropped']:,} dropped + {books['held_last']:,} left. "
        f"Resident memory at most {result['peak_mib']:,} of {result['container_mib']:,} MiB, by minute {result['mib_by_minute']}, slope {result['slope_mib_per_minute']} MiB a minute over the last two thirds (standard error {result['slope_error']}).\n"
    )


def main():
    args = parser.parse_args()
    harness.load_rig(args.rig)
    fake = harness.rig.start_fake(None)
    soak = Soak(args)
    try:
        result = soak.run()
    finally:
        soak.daemon.process.stop(signal.SIGKILL)
        fake.stop(signal.SIGKILL)
    print(json.dumps(result))
    print(paragraph(result), file=sys.stderr)
    if args.write:
        with open(DOCUMENT) as file:
            before, rest = file.read().split(BEGIN)
        with open(DOCUMENT, "w") as file:
            file.write(f"{before}{BEGIN}\n{paragraph(result)}{END}{rest.split(END)[1]}")
    return int(bool(result["broken"]))


if __name__ == "__main__":
    sys.exit(main())
