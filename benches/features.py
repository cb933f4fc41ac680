#!/usr/bin/env python3
"""Measures what the API and the metrics of spans cost the daemon: CPU a span without them, and while each is in use.

    benches/features.py                       # all features, five rounds: 35 minutes
    benches/features.py --runs 3 record tail  # two of them
    benches/features.py --write               # also writes the table into benches/RESULTS.md

One daemon runs without both, one with `api.listen`, and one for each kind of metrics of spans. The sink is the embedded
Cloud Trace of another process. The daemons have core 0; load, sink and the clients of the API have core 1. Only one daemon runs at a time: the others are stopped by a signal.
Each measured window stands beside a window without the feature, and only such pairs are compared.
"""
import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import measure
from measure import LOAD_CORE, ROOT, Spansieve, Spread, pinned

OTLP, API, PLAIN_OTLP = "127.0.0.1:18101", "127.0.0.1:18102", "127.0.0.1:18103"
SINK_OTLP, SINK = "127.0.0.1:18104", "127.0.0.1:18105"
SPAN_METRICS_OTLP = {"entry": "127.0.0.1:18106", "all": "127.0.0.1:18107"}
POLICIES = """
    - {name: errors, type: status_code, status_code: {status_codes: [ERROR]}}
    - {name: slow, type: latency, latency: {threshold_ms: 1000}}
    - {name: rest, type: probabilistic, probabilistic: {sampling_percentage: 5}}"""
SHADOWS = """
  shadow:
    policies:
      - {name: slower, type: latency, latency: {threshold_ms: 700}}
      - {name: orders, type: string_attribute, string_attribute: {key: http.route, values: ["/orders/{id}"]}}"""
API_SECTION = f"\napi: {{listen: {API!r}, recording: {{enabled: true}}}}".replace("'", '"')
FEATURES = {
    "api": "`api.listen` is set, without a client: facts about decided traces are remembered for questions about their fates",
    "fate": "100 questions for the fate of a trace a second (`spansieve fate`)",
    "shadow": "two shadow policies (a latency, an attribute)",
    "tail": "one listener to the decisions (`spansieve tail`)",
    "record": "one recording (`spansieve record`)",
    "entry": "metrics of entry spans, with the service graph (`span_metrics.spans: entry`)",
    "all": "metrics of all spans, with the service graph (`span_metrics.spans: all`)",
    "hash": "one recording that hashes an attribute of every resource (`--hash host.name`)",
}
# The time for which a load runs before a window: connections, caches, and the feature itself.
SETTLE_S = 3


class Bench:
    def __init__(self, options, binary, load, folder):
        self.options, self.binary, self.load, self.folder = options, binary, load, folder
        export = f'export: {{endpoint: "http://{SINK}", project: bench}}'
        tail = f"tail_sampling:\n  decision_wait: {options.wait}s\n  policies:{POLICIES}"
        embedded = f'export: {{endpoint: embedded, embedded: {{listen: "{SINK}"}}}}'
        self.sink = Spansieve(binary, folder, SINK_OTLP, embedded, LOAD_CORE)
        self.plain = Spansieve(binary, folder, PLAIN_OTLP, f"{export}\n{tail}")
        self.full = Spansieve(binary, folder, OTLP, f"{export}{API_SECTION}\n{tail}")
        self.span_metrics = {
            spans: Spansieve(binary, folder, otlp, f"{export}\nspan_metrics: {{spans: {spans}}}\n{tail}")
            for spans, otlp in SPAN_METRICS_OTLP.items() if spans in options.names
        }
        self.recordings = 0
        for daemon in self.measured():
            daemon.pause()

    def measured(self):
        return [self.plain, self.full, *self.span_metrics.values()]

    def stop(self):
        for daemon in [*self.measured(), self.sink]:
            daemon.stop()

    @contextlib.contextmanager
    def under_load(self, daemon, seconds):
        """Runs `daemon` under load, for so many seconds beside the time to settle."""
        daemon.go_on()
        command = [self.load, "--endpoint", daemon.address, "--rate", self.options.rate, "--batch", self.options.batch]
        command += ["--connections", self.options.connections, "--duration", seconds + 1]
        received = daemon.metric("spansieve_received_spans_total")
        process = subprocess.Popen(list(map(str, pinned(LOAD_CORE, command))), stdout=subprocess.PIPE, text=True)
        try:
            daemon.wait(lambda: daemon.metric("spansieve_received_spans_total") > received)
            yield
            result = json.loads(process.communicate(timeout=60)[0].splitlines()[-1])
            if result["refused"] or result["lost"]:
                print(f"  refused {result['refused']}, lost {result['lost']}", file=sys.stderr)
        finally:
            process.kill()
            daemon.pause()

    def cpu_us(self, daemon):
        """Returns the CPU a span in one window."""
        spans, cpu = daemon.metric("spansieve_received_spans_total"), daemon.cpu()
        time.sleep(self.options.seconds)
        cpu = daemon.cpu() - cpu
        return 1e6 * cpu / (daemon.metric("spansieve_received_spans_total") - spans)

    def window(self, daemon, feature):
        with self.under_load(daemon, 2 * SETTLE_S + self.options.seconds):
            with self.in_use(feature):
                time.sleep(SETTLE_S)
                return self.cpu_us(daemon)

    @contextlib.contextmanager
    def in_use(self, feature):
        client = None
        if feature == "shadow":
            self.full.reload(self.full.text + SHADOWS)
        elif feature == "tail":
            client = [self.binary, "tail", "--from", f"http://{API}", "--format", "json"]
        elif feature in ("record", "hash"):
            self.recordings += 1
            out = self.folder / f"{self.recordings}.rec"
            client = [self.binary, "record", "--from", f"http://{API}", "--for", "1h", "--max-bytes", "4GiB", "--out", out]
            client += ["--hash", "host.name"] if feature == "hash" else []
        elif feature == "fate":
            client = [sys.executable, __file__, "--ask", API]
        process = client and subprocess.Popen(pinned(LOAD_CORE, client), stdout=subprocess.PIPE if feature != "tail" else subprocess.DEVNULL)
        try:
            yield
        finally:
            if process:
                process.terminate()
                printed = process.communicate(timeout=20)[0] or b""
                if b"left out" in printed:
                    print(f"  {printed.decode().strip()}", file=sys.stderr)
            if feature == "shadow":
                self.full.reload(self.full.text)

    def pair(self, feature):
        """Returns CPU a span without the feature and with it."""
        if feature == "api":
            return self.window(self.plain, None), self.window(self.full, None)
        if feature in self.span_metrics:
            return self.window(self.plain, None), self.window(self.span_metrics[feature], None)
        return self.window(self.full, None), self.window(self.full, feature)


def ask(address):
    """Asks for the fates of traces that were never seen, 100 times a second."""
    number = 0
    while True:
        number += 1
        urllib.request.urlopen(f"http://{address}/api/decisions/{number:032x}", timeout=10).read()
        time.sleep(0.01)


def report(options, pairs, binary):
    facts = measure.machine(binary)
    shape = f"{options.rate:,} spans/s in requests of {options.batch} over {options.connections} connections (HTTP/protobuf)"
    lines = [f"| {shape} | CPU a span without | with | more |", "| --- | --- | --- | --- |"]
    for feature, values in pairs.items():
        without, with_it = (Spread.of([pair[i] for pair in values]) for i in (0, 1))
        more = Spread.of([100 * (b / a - 1) for a, b in values])
        lines.append(
            f"| {FEATURES[feature]} | {without.median:.2f} us | {with_it.median:.2f} us | {more.median:+.1f} % [{more.least:+.1f} - {more.most:+.1f}] |"
        )
    runs = len(next(iter(pairs.values())))
    lines += ["", f"{facts['cpu']}, {facts['cores']} cores, Linux {facts['kernel']}; {facts['date']}. Warm memory, windows of {options.seconds} s. "
              f"Medians of {runs} pairs, and the least and the most."]
    return "\n".join(lines)


def main():
    if sys.argv[1:2] == ["--ask"]:
        return ask(sys.argv[2])
    parser = measure.arguments(__doc__, list(FEATURES))
    parser.add_argument("--rate", type=int, default=20_000, help="spans a second (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=512, help="spans a request (default: %(default)s)")
    parser.add_argument("--connections", type=int, default=16, help="connections of senders (default: %(default)s)")
    parser.add_argument("--seconds", type=int, default=15, help="seconds of a window (default: %(default)s)")
    parser.add_argument("--wait", type=int, default=10, help="decision_wait in seconds (default: %(default)s)")
    parser.add_argument("--load", type=Path, help="use this load generator instead of building benches/load.rs")
    options = measure.parse(parser, list(FEATURES))
    if options.quick:
        options.seconds, options.runs = 5, 1
    binary, load = measure.build_daemon(options), options.load or measure.build_helper("load", options)
    folder = Path(tempfile.mkdtemp(prefix="spansieve-features-"))
    bench = Bench(options, binary, load.resolve(), folder)
    pairs = {feature: [] for feature in options.names}
    try:
        for daemon in bench.measured():
            with bench.under_load(daemon, 4 * options.wait):
                pass
        for run in range(options.runs):
            for feature, values in pairs.items():
                values.append(bench.pair(feature))
                print(f"{time.strftime('%H:%M:%S')} {run} {feature} {values[-1][0]:.2f} {values[-1][1]:.2f}", file=sys.stderr, flush=True)
    finally:
        bench.stop()
        shutil.rmtree(folder)
    text = report(options, pairs, binary)
    print(text)
    if options.write:
        measure.replace_between(ROOT / "benches" / "RESULTS.md", f"features {options.batch}", text)
    return None


if __name__ == "__main__":
    main()
