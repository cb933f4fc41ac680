#!/usr/bin/env python3
"""Measures every row of the table, with this daemon and the Go Collector in turn, and writes the tables.

    benches/compare.py                        # five runs of everything, the table on the terminal: about an hour
    benches/compare.py --write                # also writes benches/RESULTS.md, benches/results/comparison.json, README.md
    benches/compare.py --no-collector grpc    # one case of this daemon
    benches/compare.py --against OLD grpc http    # compares with another build of this daemon

The script builds missing programs: the release binary, the load generators, and the Collector (9 minutes, the first
time). If it is called again after an interruption, it continues where it stopped. With a new build it starts again. The
figures are meaningful only on a quiet machine; below the table stands how much of the daemon's core other processes
took.
"""
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

import measure
from measure import DAEMON_CORE, LOAD_CORE, ROOT, RUN_SECONDS_MAX, Daemon, Journal, Program, Spread, last_json, pinned, takes_span

COMPARISON = ROOT / "benches" / "results" / "comparison.json"
OTLP_HTTP = "127.0.0.1:4318"
KEEP_ALL = ["{name: all, type: always_sample}"]
# Size of the Collector's queue, which must have room for all spans when every trace is kept.
COLLECTOR_QUEUE = "QUEUE_SPANS=20000000"


class Cases:
    """The cases. Each function measures one program once, and returns named values."""

    def __init__(self, options, rig, load):
        self.options, self.rig, self.load = options, rig, load
        self.seconds = 5 if options.quick else 12
        self.burst_spans = 200_000 if options.quick else 1_000_000

    def bench(self, program, *more, wait=2, seconds=None, cores=(DAEMON_CORE, LOAD_CORE), prefix=(), **config):
        """Runs the rig's bench.py once."""
        command = [*prefix, sys.executable, self.options.rig / "bench.py", "--name", program.name, "--runs", 1]
        command += ["--cmd", program.command(**config), "--env", f"DECISION_WAIT={wait}s", "--decision-wait", wait]
        command += ["--env", COLLECTOR_QUEUE] if program.is_collector and "policies" in config else []
        command += ["--daemon-core", cores[0], "--load-core", cores[1], "--duration", seconds or self.seconds, *more]
        result = last_json(command)
        errors, slow = (tuple(map(int, result[k].split("/"))) for k in ("kept_errors", "kept_slow"))
        names = ["spans_per_s", "spans_per_s_overall", "cpu_pct_load", "others_pct", "rss_peak_mib", "rss_idle_mib", "ack_p50_ms"]
        names += ["ack_p99_ms", "ack_max_ms", "acked", "refused", "lost", "incomplete", "dup_spans", "malformed", "rest_kept_pct"]
        names += ["exported_spans", "live_gzip", "loadgen_cpu_s", "fake_cpu_s"]
        values = {name: result[name] for name in names}
        values.update(cpu_us=result["cpu_s_per_mspan"], errors=errors, slow=slow)
        return values

    def grpc(self, program):
        return self.bench(program)

    def http(self, program):
        return self.bench(program, "--proto", "http")

    def gzip(self, program):
        return self.bench(program, "--proto", "http", "--gzip")

    def kept(self, program):
        """Measures with every trace kept. The rate is limited, because exports would fill memory at full speed."""
        return self.bench(program, "--rate", 150_000, policies=KEEP_ALL)

    def norescue(self, program):
        return self.bench(program, rescue=False)

    def http_norescue(self, program):
        return self.bench(program, "--proto", "http", rescue=False)

    def steady(self, program):
        """Measures at 20,000 spans/s with a wait of 10 s."""
        wait, seconds = (3, 6) if self.options.quick else (10, 25)
        return self.bench(program, "--rate", 20_000, wait=wait, seconds=seconds, rescue=False)

    def json(self, program):
        """Measures OTLP/JSON, which the rig does not send. Values are counted in the same way as by bench.py."""
        wait = 2
        with self.running(program, wait) as (daemon, _):
            busy, cpu, started = self.rig.core_busy(DAEMON_CORE), daemon.cpu(), time.monotonic()
            sent = self.send("--json", "--duration", self.seconds)
            seconds = time.monotonic() - started
            others = self.rig.core_busy(DAEMON_CORE) - busy - (daemon.cpu() - cpu)
            stored = self.rig.settle(wait + 2)
            spans = max(sent["acked"], 1)
            return {
                "cpu_us": (daemon.cpu() - cpu) / spans * 1e6,
                "spans_per_s": sent["acked_per_s"],
                "others_pct": 100 * others / seconds,
                "ack_p99_ms": sent["ack_p99_ms"],
                "acked": sent["acked"],
                "refused": sent["refused"],
                "lost": sent["lost"],
                "errors": (stored["error_traces"], sent["error_traces"]),
                "loadgen_cpu_s": sent["loadgen_cpu_s"],
            }

    def real(self, program):
        """Measures the shape of real traffic: few spans a request, over many connections, protocols side by side."""
        return self.small_requests(program, 3_000)

    def real_fast(self, program):
        """Measures the same shape with ten times as many requests."""
        return self.small_requests(program, 30_000)

    def small_requests(self, program, rate):
        wait, seconds = 2, 6 if self.options.quick else 20
        shape = ["--proto", "mixed", "--connections", 300, "--services", 200, "--batch", 21]
        with self.running(program, wait) as (daemon, _):
            # In the first seconds all connections are new, and no trace is decided yet.
            self.send(*shape, "--rate", rate, "--duration", wait + 1)
            busy, cpu, faults = self.rig.core_busy(DAEMON_CORE), daemon.cpu(), daemon.page_faults()
            started = time.monotonic()
            sent = self.send(*shape, "--rate", rate, "--duration", seconds)
            elapsed = time.monotonic() - started
            cpu, faults = daemon.cpu() - cpu, daemon.page_faults() - faults
            others = self.rig.core_busy(DAEMON_CORE) - busy - cpu
            spans = max(sent["acked"], 1)
            values = {key: sent[key] for key in ("acked", "refused", "lost", "ack_p50_ms", "ack_p99_ms", "loadgen_cpu_s")}
            values.update(cpu_us=cpu / spans * 1e6, faults=faults / spans, spans_per_s=sent["acked_per_s"])
            return {**values, "others_pct": 100 * others / elapsed, "rss_peak_mib": daemon.memory_mib("VmHWM")}

    def fresh(self, program):
        """Measures gRPC flat out on memory that the kernel has to find and clear: a helper took what was free before,
        and has ended."""
        take_memory()
        return self.bench(program)

    def hold(self, program):
        """Measures a million held spans with the rig's scenarios.py."""
        command = [sys.executable, self.options.rig / "scenarios.py", "--name", program.name, "--cmd", program.command(rescue=False)]
        command += [] if program.is_collector else ["--gc-url", "", "--metrics", "127.0.0.1:4318/metrics"]
        result = last_json([*command, "hold"])
        beyond = result["bytes_per_span_rss"] - result["bytes_per_span_wire"]
        return {"bytes_beyond_wire": beyond, **{k: result[k] for k in ("acked", "refused", "lost", "bytes_per_span_rss", "rss_peak_mib")}}

    def burst(self, program):
        """Measures a burst whose decisions are due at the same time, and the memory that is left after it. A probe of
        few and small requests measures the longest answer."""
        wait = 3 if self.options.quick else 10
        with self.running(program, wait, rescue=False) as (daemon, idle_mib):
            calm = self.probe(2)
            burst_start = time.monotonic()
            arguments = ["--proto", "grpc", "--max-spans", self.burst_spans, "--duration", 60]
            sent = self.rig.load(LOAD_CORE, arguments)
            burst_s = time.monotonic() - burst_start
            time.sleep(max(0, wait - 1 - burst_s))
            probed = self.probe(max(burst_start + wait + burst_s + 2 - time.monotonic(), 2))
            self.rig.settle(wait + 2)
            time.sleep(5)
            peak, after = daemon.memory_mib("VmHWM"), daemon.memory_mib()
            return {
                "pause_ms": probed["ack_max_ms"],
                "pause_p99_ms": probed["ack_p99_ms"],
                "calm_max_ms": calm["ack_max_ms"],
                "burst_spans_per_s": sent["acked_per_s"],
                "rss_idle_mib": idle_mib,
                "rss_peak_mib": peak,
                "rss_after_mib": after,
                "rss_left_pct": 100 * (after - idle_mib) / max(peak - idle_mib, 1),
            }

    def start(self, program):
        """Measures the time from exec to the answer to the first span, four times."""
        times, idle = [], []
        for _ in range(4):
            with self.running(program, 2) as (daemon, idle_mib):
                times.append(daemon.startup_s * 1e3)
                idle.append(idle_mib)
        return {"start_ms": sorted(times)[len(times) // 2], "start_max_ms": max(times), "rss_idle_mib": max(idle)}

    def cores(self, program):
        """Measures one core, and then two cores that the daemon shares with the load generator and the sink. The
        scaling is an estimate: 2, times the busy share of the cores, times the CPU time of a span on one core over that
        on two."""
        one = self.bench(program, rescue=False)
        both = f"{DAEMON_CORE},{LOAD_CORE}"
        two = self.bench(program, "--inflight", 8, cores=("", ""), prefix=["taskset", "-c", both], rescue=False)
        busy = min((two["cpu_pct_load"] + two["others_pct"]) / 200, 1)
        scaling = 2 * busy * one["cpu_us"] / two["cpu_us"]
        return {"scaling": scaling, "busy": busy, "cpu_us_1": one["cpu_us"], "cpu_us_2": two["cpu_us"], "spans_per_s_2": two["spans_per_s"]}

    def size(self, program):
        return {"mib": os.path.getsize(program.binary) / 2**20}

    # --- Helpers ---

    def probe(self, seconds):
        """Sends few and small requests. They get a real-time priority, if the system allows it, so that the sink on the
        same core does not delay them."""
        first = ["chrt", "-f", "10"]
        is_allowed = not subprocess.run([*first, "true"], stderr=subprocess.DEVNULL).returncode
        return self.send("--rate", 4_000, "--batch", 8, "--connections", 4, "--pass-spans", 8_000, "--duration", round(seconds, 1), prefix=first if is_allowed else [])

    def send(self, *more, prefix=()):
        """Runs the load generator of this repository once."""
        sent = last_json([*prefix, *pinned(LOAD_CORE, [self.load, *more])])
        if not sent["acked"]:
            raise SystemExit("the daemon acknowledged nothing")
        return sent

    def running(self, program, wait, **config):
        return Running(self.rig, program, wait, config)


class Running:
    """A program with a sink, for a `with` statement. Yields the process, and its resident memory when idle, in MiB."""

    def __init__(self, rig, program, wait, config):
        self.rig, self.program, self.wait, self.config = rig, program, wait, config

    def __enter__(self):
        self.sink = self.rig.start_fake(LOAD_CORE)
        try:
            log = str(measure.rig_out() / "runs" / f"{self.program.name}-{os.getpid()}.log")
            environment = {"DECISION_WAIT": f"{self.wait}s"}
            command = self.program.command(**self.config).split()
            self.daemon = Daemon(command, OTLP_HTTP, log, environment=environment, is_ready=takes_span)
        except BaseException:
            self.sink.stop(signal.SIGKILL)
            raise
        time.sleep(1)
        idle_mib = self.daemon.memory_mib()
        self.rig.get(self.rig.FAKE_HTTP, "/reset")
        return self.daemon, idle_mib

    def __exit__(self, *_):
        self.daemon.stop()
        self.sink.stop(signal.SIGKILL)


def take_memory():
    """Makes the kernel forget which pages it has at hand: a process writes to nearly all memory, page cache included, and
    ends."""
    program = (
        "import mmap, re\n"
        "free = int(re.search(r'MemAvailable: *(\\d+)', open('/proc/meminfo').read())[1]) << 10\n"
        "size = int(free * 0.9) // 4096 * 4096\n"
        "taken = mmap.mmap(-1, size)\n"
        "for at in range(0, size, 4096): taken[at] = 1\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=RUN_SECONDS_MAX)


CASES = ["grpc", "fresh", "http", "gzip", "json", "kept", "real", "real_fast", "norescue", "http_norescue", "steady", "hold", "burst", "start", "cores", "size"]
# The Collector has no rescue, so cases without rescue are left out. Its performance on two cores has no target.
OURS = {"norescue", "http_norescue", "cores"}


@dataclass
class Row:
    """A row of the table. `most` or `least` is the target."""

    what: str
    case: str
    key: str
    unit: str
    most: float = None
    least: float = None
    digits: int = 2
    short: bool = False

    def target(self):
        if self.most is None and self.least is None:
            return ""
        value = self.most if self.most is not None else self.least
        return f"{'<=' if self.most is not None else '>='} {value:,} {self.unit}"

    def text(self, spread):
        if not spread:
            return "-"
        number = lambda x: f"{x:,.{self.digits}f}"
        span = f" [{number(spread.least)} - {number(spread.most)}]" if spread.runs > 1 and spread.least != spread.most else ""
        return f"{number(spread.median)} {self.unit}{span}"

    def verdict(self, spread):
        """Returns "reached", or by how much the median misses the target."""
        if not spread or not self.target():
            return ""
        over = spread.median / self.most - 1 if self.most is not None else 1 - spread.median / self.least
        return "reached" if over <= 0 else f"short by {100 * over:.0f} %"

    def ratio(self, ours, theirs):
        """Returns how many times better `ours` is."""
        if not ours or not theirs or not ours.median or not theirs.median:
            return ""
        ratio = ours.median / theirs.median if self.more_is_better() else theirs.median / ours.median
        return f"{ratio:.1f}"

    def more_is_better(self):
        return self.most is None and self.unit == "spans/s" or self.least is not None


ROWS = [
    Row("CPU a span, gRPC", "grpc", "cpu_us", "us", most=1.1, short=True),
    Row("CPU a span, HTTP/protobuf", "http", "cpu_us", "us", most=1.0, short=True),
    Row("CPU a span, HTTP/protobuf with gzip", "gzip", "cpu_us", "us", most=1.8, short=True),
    Row("CPU a span, HTTP/JSON", "json", "cpu_us", "us", most=6, short=True),
    Row("CPU a span, gRPC, 100 % kept, at most 150,000 spans/s", "kept", "cpu_us", "us", most=4, short=True),
    Row("CPU a span, gRPC, memory touched for the first time", "fresh", "cpu_us", "us", most=0.65),
    Row("CPU a span, 3,000 spans/s of 200 services over 300 connections, 21 spans a request", "real", "cpu_us", "us", most=4, short=True),
    Row("the same at 30,000 spans/s", "real_fast", "cpu_us", "us", most=2, short=True),
    Row("page faults a span, 30,000 spans/s of this shape", "real_fast", "faults", "", most=0.005, digits=4),
    Row("ack p99, 3,000 spans/s of this shape", "real", "ack_p99_ms", "ms", digits=1),
    Row("CPU a span, gRPC, without rescue", "norescue", "cpu_us", "us"),
    Row("CPU a span, HTTP/protobuf, without rescue", "http_norescue", "cpu_us", "us"),
    Row("spans/s on one core, gRPC", "grpc", "spans_per_s", "spans/s", least=800_000, digits=0, short=True),
    Row("spans/s on one core, HTTP/protobuf", "http", "spans_per_s", "spans/s", digits=0),
    Row("ack p99, gRPC flat out", "grpc", "ack_p99_ms", "ms", most=50, digits=1, short=True),
    Row("ack p99 at 20,000 spans/s", "steady", "ack_p99_ms", "ms", most=5, digits=1, short=True),
    Row("CPU a span at 20,000 spans/s", "steady", "cpu_us", "us"),
    Row("longest answer while a burst is decided", "burst", "pause_ms", "ms", most=5, digits=1, short=True),
    Row("... and on the idle daemon, for scale", "burst", "calm_max_ms", "ms", digits=1),
    Row("memory a pending span beyond its wire bytes", "hold", "bytes_beyond_wire", "B", most=60, digits=0, short=True),
    Row("peak memory at 20,000 spans/s, 10 s wait", "steady", "rss_peak_mib", "MiB", most=160, digits=0, short=True),
    Row("memory left of a burst's, once it is decided", "burst", "rss_left_pct", "%", most=25, digits=0),
    Row("idle memory", "start", "rss_idle_mib", "MiB", most=15, digits=1, short=True),
    Row("start to first span", "start", "start_ms", "ms", most=30, digits=0, short=True),
    Row("two cores over one, without rescue", "cores", "scaling", "times", least=1.7, short=True),
    Row("binary", "size", "mib", "MiB", most=15, digits=1),
]


def measure_all(options, programs, cases, journal):
    """Measures run by run, case by case, program by program. Compared runs follow each other, and take turns in being
    first."""
    for number in range(1, options.runs + 1):
        for case in options.names:
            for program in programs if number % 2 else programs[::-1]:
                if program.is_collector and case in OURS:
                    continue
                key = {"case": case, "program": program.name, "digest": program.digest, "run": number}
                journal.measure(lambda: getattr(cases, case)(program), **key)


def spread(journal, program, case, key):
    entries = journal.find(case=case, program=program.name, digest=program.digest)
    return Spread.of([entry["values"].get(key) for entry in entries])


def table(rows, programs, journal):
    ours, others = programs[0], programs[1:]
    head = ["", "target", ours.name] + [cell for p in others for cell in (p.name, "ratio")] + ["target reached"]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for row in rows:
        own = spread(journal, ours, row.case, row.key)
        cells = [row.what, row.target(), row.text(own)]
        for program in others:
            theirs = spread(journal, program, row.case, row.key)
            cells += [row.text(theirs), row.ratio(own, theirs)]
        lines.append("| " + " | ".join([*cells, row.verdict(own)]) + " |")
    lines += kept_rows(programs, journal, len(head))
    return "\n".join(lines)


def kept_rows(programs, journal, width):
    """Returns the rows of traces that must be kept: how many arrived, over all runs."""
    lines = []
    for key, what in [("errors", "traces with an error, kept"), ("slow", "slow traces, kept")]:
        pairs = []
        for program in programs:
            entries = [e["values"] for e in journal.find(program=program.name, digest=program.digest)]
            found = [v[key] for v in entries if key in v]
            pairs.append((sum(v[0] for v in found), sum(v[1] for v in found)))
        texts = [f"{kept:,} of {sent:,}" if sent else "-" for kept, sent in pairs]
        cells = [what, "all", texts[0]] + [c for text in texts[1:] for c in (text, "")]
        verdict = "" if not pairs[0][1] else "reached" if pairs[0][0] == pairs[0][1] else f"{pairs[0][1] - pairs[0][0]:,} missing"
        lines.append("| " + " | ".join([*cells, verdict]) + " |")
    whole = []
    for program in programs:
        entries = [e["values"] for e in journal.find(program=program.name, digest=program.digest)]
        sums = [sum(v.get(key, 0) for v in entries) for key in ("incomplete", "dup_spans", "refused", "lost")]
        whole.append(", ".join(f"{n:,}" for n in sums))
    cells = ["incomplete traces, duplicate spans, refused spans, lost spans", "0, 0, 0, 0", whole[0]]
    cells += [c for text in whole[1:] for c in (text, "")]
    lines.append("| " + " | ".join([*cells, ""]) + " |")
    return lines


def footnote(facts, programs, journal):
    runs = [e for p in programs for e in journal.find(program=p.name, digest=p.digest)]
    others = [e["values"]["others_pct"] for e in runs if "others_pct" in e["values"] and e["case"] != "cores"]
    noise = Spread.of(others)
    quiet = f"Other processes took {noise.median:.1f} % of the daemon's core [{noise.least:.1f} - {noise.most:.1f}]. " if noise else ""
    return (
        f"{facts['cpu']}, {facts['cores']} cores, {facts['memory_gib']} GiB, Linux {facts['kernel']}, {facts['rust']}; "
        f"{facts['date']}, commit {facts['commit']}. {quiet}Medians with the least and the most of {max((e['run'] for e in runs), default=0)} "
        "runs, in which the programs took turns; a ratio says how many times better the first is."
    )


def main():
    parser = measure.arguments(__doc__, CASES)
    parser.add_argument("--no-collector", action="store_true", help="do not build and measure the Go Collector")
    parser.add_argument("--against", type=measure.Path, help="another build of this daemon, measured in turn with it")
    options = measure.parse(parser, CASES)
    measure.allow_open_files()
    binary = measure.build_daemon(options)
    if not options.report:
        load = measure.build_helper("load")
        measure.build_rig(options, not options.no_collector)
        measure.isolate(options)
    programs = [Program("Spansieve", binary, options.rig / "spansieve.yaml")]
    if options.against:
        programs.append(Program("against", options.against.resolve(), options.rig / "spansieve.yaml"))
    if not options.no_collector:
        collector = measure.rig_out() / "bin" / "otelcol-peer"
        programs.append(Program("Collector", collector, options.rig / "otelcol" / "config.yaml", is_collector=True))
    journal = Journal("comparison", options)
    if not options.report:
        rig = measure.rig_module(options)
        measure_all(options, programs, Cases(options, rig, load), journal)

    facts = measure.machine(binary)
    everything = table(ROWS, programs, journal) + "\n\n" + footnote(facts, programs, journal)
    print(everything)
    if options.write:
        wanted = {p.digest for p in programs}
        raw = {"machine": facts, "runs": [e for e in journal.entries if e["digest"] in wanted]}
        COMPARISON.write_text(json.dumps(raw, indent=1) + "\n")
        measure.replace_between(ROOT / "benches" / "RESULTS.md", "comparison", everything)
        short = table([row for row in ROWS if row.short], programs, journal)
        measure.replace_between(ROOT / "README.md", "comparison", short)


if __name__ == "__main__":
    main()
