#!/usr/bin/env python3
"""Faults and overload against the real program. The table in `docs/evidence.md` has the results.

    tools/faults.py --rig RIG [--collector] [--write] [--container MIB] [SCENARIO ...] SPANSIEVE

RIG is the folder of the benchmark rig, whose programs are built (`RIG_OUT`). Without a SCENARIO all of them run, one
after the other. Each starts a sink and the daemon anew on fixed ports. With --collector the Go Collector then gets the
same load, where that makes sense. Each scenario prints a JSON line on standard output, with the broken promises.
--write puts its row into the table. The exit code is 1 if Spansieve broke a promise.
"""
import argparse, dataclasses, itertools, json, math, os, signal, sys, threading, time
from typing import Callable

import harness
from harness import HTTP, Hostile, Requests, Spansieve, Truth, loadgen, post_all, probe_is_prompt, scrape, until

DOCUMENT = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "docs", "evidence.md")
BEGIN, END = "<!-- faults.py: begin -->", "<!-- faults.py: end -->"
COLUMNS = ["fault", "spans acknowledged, of those sent", "refused requests", "error and slow traces kept", "lost", "peak resident, of the container", "recovered after", "Go Collector, the same"]

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("scenario", nargs="*")
parser.add_argument("spansieve")
parser.add_argument("--rig", required=True)
parser.add_argument("--collector", action="store_true", help="also test the Go Collector of the rig")
parser.add_argument("--write", action="store_true", help="write the table in docs/evidence.md")
parser.add_argument("--container", type=int, default=512, help="the container's memory in MiB; memory.limit is its default share of it")


@dataclasses.dataclass
class Scenario:
    """A fault: its description, the promise, and the function that causes it."""

    fault: str
    promise: str
    # Loads the daemon, and returns when the load has ended. Its return value is added to the result.
    load: Callable
    # Additional settings of the daemon.
    daemon: dict = dataclasses.field(default_factory=dict)
    # The expected fate of the spans if the load ends the process: `counted`, `spooled` or `gone`.
    end: str = ""
    # True if the scenario makes sense for the Go Collector.
    collector: bool = True
    # Maximum share of the container's memory that may be resident.
    resident_share: float = 1.0


class Collector:
    """The Go Collector of the rig, with those methods of `Spansieve` that the loads need."""

    def __init__(self, container_mib=512, wait=2, **_):
        self.container_mib, self.wait = container_mib, wait
        # The shares of the container's memory that the memory limiter's documentation recommends.
        limit, spike = container_mib * 8 // 10, container_mib * 2 // 10
        self.environment = {"DECISION_WAIT": f"{wait}s", "MEM_LIMIT_MIB": str(limit), "MEM_SPIKE_MIB": str(spike)}
        self.command = f"{harness.rig.BIN}/otelcol-peer --config {harness.rig.HERE}/otelcol/config.yaml"
        self.peak_mib = 0.0

    def start(self):
        self.process = harness.rig.start_daemon(self.command, None, self.environment, os.devnull, HTTP)
        return self

    alive, memory_peak_mib, signal = Spansieve.alive, Spansieve.memory_peak_mib, Spansieve.signal


# === Loads ===


def sustainable_rate(daemon):
    """Returns the spans a second that the memory limit can hold for the decision wait."""
    return daemon.container_mib * harness.LIMIT_SHARE * (1 << 20) / harness.HELD_BYTES_PER_SPAN / daemon.wait


def overload(daemon, truth):
    rate = 10 * sustainable_rate(daemon)
    result = loadgen(truth, "--rate", rate, "--duration", 20)()
    return {"times_sustainable": round(result["sent"] / result["wall_s"] / rate * 10, 1)}


def flat_out(connections):
    """Returns a load of 300 KB requests, 100 in flight on each connection, beside a well-behaved sender of 10
    spans/s."""

    def load(daemon, truth):
        finish = loadgen(truth, "--rate", 10, "--batch", 1, "--duration", 15, "--retries", 50, proto="http")
        loadgen(truth, "--batch", 512, "--conns", connections, "--inflight", 100, "--duration", 15)()
        return {"innocent_wait_ms": finish()["ack_p99_ms"]}

    return load


def burst(daemon, truth):
    requests = Requests(1000, pad=480)
    count = (1 << 30) // len(requests.body) + 1
    post_all(((body, 1000, must) for body, must in (requests.make(10) for _ in range(count))), truth, connections=32)


def million(trace, error_at):
    """Yields requests of 5,000 spans of one trace. The span at `error_at` failed."""
    requests = Requests(5000)
    for first in range(0, 1_000_000, 5000):
        place = error_at - first
        body, _ = requests.make(trace=trace, error_at=place if 0 <= place < 5000 else None)
        yield body, 5000, []


def giant_trace(daemon, truth):
    trace = os.urandom(16)
    post_all(million(trace, 50_000), truth, connections=2)
    truth.must_keep[trace.hex()] = 1_000_000


def one_span_traces(daemon, truth):
    requests = Requests(5000)
    post_all(((body, 5000, must) for body, must in (requests.make(10) for _ in range(2000))), truth)


def one_span_requests(daemon, truth):
    loadgen(truth, "--batch", 1, "--inflight", 32, "--duration", 20)()


def huge_requests(daemon, truth):
    requests = Requests(100_000)
    post_all(((body, 100_000, must) for body, must in (requests.make(100) for _ in range(60))), truth, connections=4)


def together(daemon, truth):
    stream = loadgen(truth, "--duration", 20)
    singles = loadgen(truth, "--batch", 1, "--duration", 20)
    trace = os.urandom(16)
    requests = Requests(100_000)
    huge = ((body, 100_000, must) for body, must in (requests.make(100) for _ in range(10)))
    post_all(itertools.chain.from_iterable(zip(million(trace, 0), huge)), truth, connections=4)
    stream(), singles()


def while_sink(fault, seconds, rate=20_000, margin=5):
    """Returns a load at `rate`. After five seconds the sink gets a fault; the load ends `margin` seconds after the
    fault."""

    def load(daemon, truth):
        finish = loadgen(truth, "--rate", rate, "--duration", seconds + 5 + margin)
        time.sleep(5)
        harness.rig.get(harness.rig.FAKE_HTTP, f"/set?{fault}")
        finish()
        harness.rig.get(harness.rig.FAKE_HTTP, "/set?delay_ms=0")

    return load


def hostile(daemon, truth):
    clients = Hostile(each=16)
    loadgen(truth, "--rate", 20_000, "--duration", 20, "--retries", 50)()
    clients.stop()
    return {"hostile_connections": sum(clients.opened.values()), "cut_off": dict(clients.cut_off)}


def small_beside_flood(daemon, truth):
    """Two connections with 50 requests in flight each fill the memory while the sink is away; a sender of 10 spans/s beside them."""
    harness.rig.get(harness.rig.FAKE_HTTP, "/set?down_ms=50000")
    flood = loadgen(truth, "--batch", 512, "--conns", 2, "--inflight", 50, "--duration", 45)
    until(lambda: scrape().by_label("requests_total", "outcome").get("busy", 0) > 0, 20)
    small = loadgen(truth, "--rate", 10, "--batch", 1, "--conns", 1, "--duration", 15, "--retries", 0)()
    flood()
    return {"small_acked": small["acked"], "small_sent": small["sent"], "small_wait_ms": small["ack_p99_ms"], "small_answers": small["codes"]}


def unread_crowd(connections):
    """Returns a load of HTTP/2 connections from four addresses that ask for a page on every stream and read no answer, while
    the sink is away and memory is full. A sender of 10 spans/s and a probe a second are beside them."""

    def load(daemon, truth):
        harness.rig.get(harness.rig.FAKE_HTTP, "/set?down_ms=300000")
        for _ in range(12):
            loadgen(truth, "--batch", 512, "--conns", 2, "--inflight", 20, "--duration", 5)()
            if scrape().by_label("requests_total", "outcome").get("busy", 0) > 0:
                break
        crowd = harness.Crowd(connections, harness.unread_pages())
        finish = loadgen(truth, "--rate", 10, "--batch", 1, "--conns", 1, "--duration", 15, "--retries", 0)
        probes = [until(lambda: harness.rig.get(HTTP, "/livez", 5) == "ok\n", 5) for _ in range(15) if not time.sleep(1)]
        small = finish()
        crowd.stop()
        harness.rig.get(harness.rig.FAKE_HTTP, "/set?down_ms=0")
        return {"small_acked": small["acked"], "small_sent": small["sent"], "small_wait_ms": small["ack_p99_ms"], "small_answers": small["codes"], "probes": probes, "connections": crowd.opened}

    return load


def through_stock_exporter(daemon, truth):
    """Sends through the Collector's own OTLP exporter while the sink is away. That exporter drops on a non-retryable
    error."""
    environment = {"EXPORTER": "otlp", "CLOUDTRACE": harness.GRPC, "OTLP_GRPC": "127.0.0.1:5317", "OTLP_HTTP": "127.0.0.1:5318"}
    command = [f"{harness.rig.BIN}/otelcol-peer", "--config", f"{harness.rig.HERE}/otelcol/passthrough.yaml"]
    between = harness.rig.Proc(command, env=environment)
    until(lambda: harness.rig.post_span("127.0.0.1:5318") == 200, 30)
    truth.sent, truth.acked = truth.sent + 1, truth.acked + 1
    harness.rig.get(harness.rig.FAKE_HTTP, "/set?down_ms=20000")
    expect = f"/tmp/expect-{os.getpid()}"
    result = harness.rig.load(None, ["--endpoint", "127.0.0.1:5317", "--rate", 20_000, "--duration", 25, "--retries", 600, "--expect", expect])
    truth.add_loadgen(result, expect)
    busy = scrape().by_label("requests_total", "outcome").get("busy", 0)
    # The exporter drops the content of its queue when it stops, so the queue must be empty first.
    passed_on_s = until(lambda: scrape().sum("received_spans_total") >= truth.acked, 120)
    between.stop(signal.SIGTERM)
    return {"refusals_to_the_exporter": busy, "passed_on_s": passed_on_s}


def stop_at_full_load(fault, number=signal.SIGTERM):
    """Returns a load that ends the process at full load while the sink has a fault. The load continues and is
    refused."""

    def load(daemon, truth):
        harness.rig.get(harness.rig.FAKE_HTTP, f"/set?{fault}")
        finish = loadgen(truth, "--rate", 2 * sustainable_rate(daemon), "--duration", 10)
        time.sleep(7)
        code, seconds = daemon.signal(number)
        finish()
        return {"exit_code": code, "exit_s": seconds}

    return load


SLOW_SINK = "delay_ms=2000"
AWAY = "down_ms=60000"

SCENARIOS = {
    "overload": Scenario("10 times the rate that memory sustains", "decided early, then refused", overload, {"wait": 10}),
    "flat-out": Scenario("one flat-out sender (100 requests of 300 KB in flight) in a container of 192 MiB", "at most 90 % of it is resident", flat_out(1), {"container_mib": 192}, resident_share=0.9),
    "flat-out-8": Scenario("eight of them in a container of 512 MiB", "at most 90 % of it is resident", flat_out(8), {"container_mib": 512}, resident_share=0.9),
    "burst": Scenario("1 GB at once", "refused until there is room; every retry gets through", burst),
    "giant-trace": Scenario("one trace of 1,000,000 spans, with an error among the first 100,000, which is spans_max", "whole", giant_trace),
    "one-span-traces": Scenario("10,000,000 traces of one span", "bounded", one_span_traces),
    "one-span-requests": Scenario("requests of one span, flat out", "bounded", one_span_requests),
    "huge-requests": Scenario("requests of 100,000 spans", "bounded", huge_requests),
    "together": Scenario("a flat-out stream, one-span requests, requests of 100,000 spans and a trace of a million, at once", "bounded", together),
    "away": Scenario("sink away for 60 s, 20,000 spans/s", "held and written", while_sink("down_ms=60000", 60)),
    "slow": Scenario("sink takes 2 s a call, 20,000 spans/s", "written", while_sink("delay_ms=2000", 30, margin=0)),
    "exhausted": Scenario("sink says RESOURCE_EXHAUSTED for 30 s, 20,000 spans/s", "held and written", while_sink("code=8&for_ms=30000", 30)),
    "hostile": Scenario("16 each of nine kinds of hostile client beside 20,000 spans/s", "the good ones notice nothing", hostile),
    "small-beside-flood": Scenario("memory full as the sink is away, two gRPC connections with 50 requests in flight each, a sender of 10 spans/s on its own", "the small sender gets through", small_beside_flood, {"percentage": 100, "container_mib": 192}, collector=False),
    "unread": Scenario("memory full as the sink is away, 2,000 HTTP/2 connections that ask for a page on each of 1,000 streams and read no answer, a sender of 10 spans/s on its own", "at most 90 % of 192 MiB is resident; the small sender and probes get through", unread_crowd(2000), {"percentage": 100, "container_mib": 192}, collector=False, resident_share=0.9),
    "unread-5000": Scenario("5,000 of them in a container of 512 MiB", "the same", unread_crowd(5000), {"percentage": 100, "container_mib": 512}, collector=False, resident_share=0.9),
    "stock-exporter": Scenario("the Collector's OTLP exporter in front, memory full as the sink is away", "its retry gets through", through_stock_exporter, {"percentage": 100, "container_mib": 192}, collector=False),
    "sigterm-slow": Scenario("SIGTERM at twice the sustainable rate, sink takes 2 s a call", "what cannot be written is counted", stop_at_full_load(SLOW_SINK), end="counted"),
    "sigterm-away": Scenario("SIGTERM at twice the sustainable rate, sink away", "all of it is counted", stop_at_full_load(AWAY), end="counted"),
    "sigterm-spool": Scenario("the same with a spool, and a start", "nothing is lost", stop_at_full_load("down_ms=20000"), {"spool": "4GiB"}, end="spooled", collector=False),
    "kill9-spool": Scenario("kill -9 at twice the sustainable rate, with a spool, and a start", "what is spooled arrives", stop_at_full_load("down_ms=20000", signal.SIGKILL), {"spool": "4GiB", "percentage": 100}, end="gone", collector=False),
    "kill9-journal": Scenario("kill -9 at twice the sustainable rate, with a journal, and a start", "nothing is lost", stop_at_full_load("down_ms=20000", signal.SIGKILL), {"more": "journal: {{directory: {folder}/journal}}\n"}, end="spooled", collector=False),
}


# === Trials ===


class LastScrape(threading.Thread):
    """A thread that scrapes until the process has ended, and keeps the last scrape."""

    def __init__(self):
        super().__init__(daemon=True)
        self.last, self.stopping = None, threading.Event()
        self.start()

    def run(self):
        while not self.stopping.wait(0.05):
            try:
                self.last = scrape()
            except (OSError, ValueError):
                pass

    def stop(self):
        self.stopping.set()
        self.join()
        return self.last


def trial(scenario, daemon):
    """Runs a scenario on a daemon; returns the result as a dictionary."""
    fake = harness.rig.start_fake(None)
    truth = Truth()
    try:
        daemon.start()
        truth.sent = truth.acked = 1
        watch = LastScrape() if scenario.end and isinstance(daemon, Spansieve) else None
        extra = scenario.load(daemon, truth) or {}
        last = watch.stop() if watch else None
        if isinstance(daemon, Spansieve):
            return spansieve_result(scenario, daemon, truth, last, extra) | extra
        return collector_result(scenario, daemon, truth) | extra
    finally:
        daemon.process.stop(signal.SIGKILL)
        fake.stop(signal.SIGKILL)


def facts(daemon, truth):
    """Returns the part of the result that both daemons have."""
    gone, torn = truth.missing()
    sink = harness.rig.stats()
    return {
        "sent": truth.sent,
        "acked": truth.acked,
        "refused": truth.refused,
        "lost_by_sender": truth.lost,
        "answers": dict(truth.answers),
        "must_keep": len(truth.must_keep),
        "missing": gone,
        "torn": torn,
        "exported": sink["spans"],
        "twice": sink["dup_spans"],
        "ack_p99_ms": truth.ack_p99_ms(),
        "peak_mib": daemon.memory_peak_mib(),
        "container_mib": daemon.container_mib,
    }


def collector_result(scenario, daemon, truth):
    harness.rig.settle(daemon.wait + 3)
    return {"alive": daemon.alive()} | facts(daemon, truth)


def spansieve_result(scenario, daemon, truth, last, extra):
    broken = []
    if scenario.end:
        lost = ended(scenario, daemon, truth, last, broken)
    else:
        lost = None
    if not daemon.alive():
        return facts(daemon, truth) | {"dropped": lost, "broken": broken + promises(scenario, daemon, truth, None, lost, last, extra)}
    prompt_s = until(lambda: probe_is_prompt(truth), 120)
    drained_s = until(lambda: scrape().undecided_or_unwritten() == 0, 300)
    books = scrape()
    result = {
        "prompt_again_s": prompt_s,
        "drained_s": drained_s,
        "dropped": books.by_label("dropped_spans_total", "reason"),
        "requests": books.by_label("requests_total", "outcome"),
        "triggers": books.by_label("decided_traces_total", "trigger"),
        "policies": books.by_label("decided_traces_total", "policy"),
    }
    return facts(daemon, truth) | result | {"broken": broken + promises(scenario, daemon, truth, books, lost, last or books, extra)}


def ended(scenario, daemon, truth, last, broken):
    """Checks the end of the process, and starts a new one if the scenario needs it. Returns the number of lost
    spans."""
    if scenario.end == "counted":
        lost = daemon.lost_at_stop()
        left = last.sum("held_spans", "export") + last.sum("exported_spans_total") + last.sum("dropped_spans_total")
        written = harness.rig.stats()["spans"] - harness.rig.stats()["dup_spans"]
        # A call that was cut off may have arrived. It is counted as lost nevertheless.
        if last.sum("held_spans", "pending") == 0 and lost is not None and written + lost < left:
            broken.append(f"{left} spans were kept, {written} written, {lost} counted as lost")
        return lost
    daemon.start()
    truth.sent, truth.acked = truth.sent + 1, truth.acked + 1
    if scenario.end == "spooled":
        return None
    spooled, recovered = last.sum("held_spans", "spooled"), scrape().sum("recovered_spans_total")
    if not 0 < spooled <= recovered:
        broken.append(f"{spooled} spans were spooled, {recovered} recovered")
    # The spans in memory are lost. That may be all spans of the traces that must be kept.
    return sum(truth.must_keep.values())


def promises(scenario, daemon, truth, books, lost, under_load, extra):
    """Returns the broken promises as text. `under_load` is the last scrape of the process under load."""
    gone, torn = truth.missing()
    checks = [
        (daemon.memory_peak_mib() <= scenario.resident_share * daemon.container_mib, f"{daemon.memory_peak_mib()} MiB resident"),
        (truth.not_retryable == 0, f"{truth.not_retryable} refusals that exporters do not retry"),
        (gone <= (lost or 0), f"{gone} error or slow traces missing"),
        (torn <= (lost or 0) or decided_early(under_load), f"{torn} error or slow traces not whole"),
    ]
    if "probes" in extra:
        checks.append((None not in extra["probes"], f"probes were answered after {extra['probes']} s"))
    if "small_sent" in extra:
        checks.append((extra["small_acked"] >= 0.95 * extra["small_sent"], f"{extra['small_acked']} of {extra['small_sent']} spans of the small sender acknowledged"))
    if books is not None:
        sink = harness.rig.stats()
        exported = books.sum("exported_spans_total")
        checks += [
            (books.undecided_or_unwritten() == 0, "spans are stuck"),
            (books.unaccounted() == 0, f"{books.unaccounted()} spans unaccounted for"),
            (daemon.starts > 1 or exported == sink["spans"], f"{exported} spans exported, {sink['spans']} arrived"),
            (daemon.starts > 1 or 0 <= books.sum("received_spans_total") - truth.acked <= truth.lost, "received is not what was acknowledged"),
            (books.sum("dropped_spans_total") == 0, "spans were dropped"),
            # After a start with a journal the check is not possible: the journal has no dropped traces.
            (daemon.starts > 1 or ratio_is_right(books), "the ratio's adjusted counts are off"),
        ]
    return [words for kept, words in checks if not kept]


def decided_early(books):
    """Returns true if traces were decided early. Their earlier spans may then be lost when an error comes late."""
    return books.sum("decided_traces_total", 'trigger="pressure"') > 0


def ratio_is_right(books):
    """Returns true if the ratio's adjusted counts add up to the traces that it decided, within four standard errors."""
    traces = books.by_label("decided_traces_total", "policy")
    kept, dropped, share = traces.get("rest", 0), traces.get("", 0), harness.RATIO
    asked = kept + dropped
    everything_is_kept = dropped == 0
    return everything_is_kept or abs(kept / share - asked) <= 4 * math.sqrt(asked * (1 - share) / share)


# === Results ===


def count(number):
    return f"{number:,}"


def row(scenario, name, result, peer):
    refused = sum(times for answer, times in result["answers"].items() if answer not in ("ok", "partial"))
    refused = max(refused, result.get("requests", {}).get("busy", 0))
    lost = sum((result["dropped"] or {}).values()) if not isinstance(result["dropped"], int) else result["dropped"]
    kept = f"{count(result['must_keep'] - result['missing'])} of {count(result['must_keep'])}"
    if result["torn"]:
        kept += f", {count(result['torn'])} not whole"
    recovered = f"{result['drained_s']} s" if result.get("drained_s") is not None else "-"
    if "exit_s" in result:
        recovered = f"exit {result['exit_code']} after {result['exit_s']} s" + (f"; {recovered}" if recovered != "-" else "")
    cells = [
        f"{scenario.fault} (`{name}`)",
        f"{count(result['acked'])} of {count(result['sent'])}",
        count(refused),
        kept,
        count(lost or 0),
        f"{result['peak_mib']} of {result['container_mib']} MiB",
        recovered,
        peer_cell(peer),
    ]
    return "| " + " | ".join(cells) + " |"


def peer_cell(peer):
    if peer is None:
        return ""
    kept = f"{count(peer['acked'])} spans acknowledged; {count(peer['must_keep'] - peer['missing'])} of {count(peer['must_keep'])} traces kept"
    torn = f", {count(peer['torn'])} not whole" if peer["torn"] else ""
    state = "" if peer.get("alive") or "exit_s" in peer else "; **dead**"
    stopped = f"; exit after {peer['exit_s']} s" if "exit_s" in peer else ""
    return f"{kept}{torn}; {peer['peak_mib']} MiB{stopped}{state}"


def write(name, line):
    """Puts the row of a scenario into the table, in the order of the scenarios."""
    with open(DOCUMENT) as file:
        before, rest = file.read().split(BEGIN)
        table, after = rest.split(END)
    rows = {text.split("(`")[1].split("`)")[0]: text for text in table.splitlines() if "(`" in text.split("|")[1 if "|" in text else 0]}
    if name in rows and line.endswith(" |  |"):
        # The Collector was not tested this time, so its last result is kept.
        line = line.removesuffix(" |") + rows[name].rsplit(" | ", 1)[1]
    rows[name] = line
    head = ["| " + " | ".join(COLUMNS) + " |", "|" + " --- |" * len(COLUMNS)]
    body = [rows[known] for known in SCENARIOS if known in rows]
    with open(DOCUMENT, "w") as file:
        file.write(f"{before}{BEGIN}\n" + "\n".join(head + body) + f"\n{END}{after}")


def main():
    args = parser.parse_args()
    harness.load_rig(args.rig)
    unknown = [name for name in args.scenario if name not in SCENARIOS]
    if unknown:
        raise SystemExit(f"unknown scenario: {', '.join(unknown)}; the scenarios are {', '.join(SCENARIOS)}")
    failed = False
    for name in args.scenario or SCENARIOS:
        scenario = SCENARIOS[name]
        options = {"container_mib": args.container} | scenario.daemon
        daemon = Spansieve(args.spansieve, **options)
        if not daemon.understands():
            print(json.dumps({"scenario": name, "skipped": "this build does not know its configuration"}), flush=True)
            continue
        result = trial(scenario, daemon)
        print(json.dumps({"scenario": name} | result), flush=True)
        peer = None
        if args.collector and scenario.collector:
            peer = trial(scenario, Collector(**options))
            print(json.dumps({"scenario": name, "daemon": "collector"} | peer), flush=True)
        line = row(scenario, name, result, peer)
        print(line, file=sys.stderr, flush=True)
        if args.write:
            write(name, line)
        failed |= bool(result["broken"])
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
