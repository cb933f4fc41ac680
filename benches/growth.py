#!/usr/bin/env python3
"""Measures the CPU time and the memory of a span as the load and the configuration grow, and draws the charts.

    benches/growth.py                     # all charts, three runs of each point: about 50 minutes
    benches/growth.py pending services    # some of them
    benches/growth.py --write             # also writes benches/RESULTS.md and benches/results/growth*

Ten million pending spans take 7 GB of memory. An interrupted measurement continues where it stopped.
"""
import json
import signal
import time
from dataclasses import dataclass

import measure
from chart import chart
from measure import DAEMON_CORE, LOAD_CORE, ROOT, SPANSIEVE_CONFIG, Journal, Program, Spread, last_json, pinned
from running import Running

RESULTS = ROOT / "benches" / "results"
# The longest decision wait in seconds, so that nothing is decided while memory is measured.
HOLD_WAIT_S = 600
FLOW_WAIT_S = 2
CONNECTIONS = [1, 10, 100, 1_000, 5_000]
# The chart of connections has small requests, so that each of 5,000 connections sends some.
SMALL_BATCH = ["--batch", 64]

ERRORS = "{name: errors, type: status_code, status_code: {status_codes: [ERROR]}}"
SLOW = "{name: slow, type: latency, latency: {threshold_ms: 1000}}"
REST = "{name: rest, type: probabilistic, probabilistic: {sampling_percentage: 5}}"
# Attributes for policies. The policies look for them in every span with values that no span has, and so keep nothing.
KEYS = ["http.route", "db.operation.name", "service.name", "feature_flag.key", "server.address", "thread.name"]
NUMBERS = ["http.response.status_code", "db.response.returned_rows", "thread.id"]


def policies(count):
    """Returns `count` policies. From three on, they include errors, slow traces and a ratio, so that the kept share is
    constant."""
    if count < 3:
        return ["{name: rest, type: probabilistic, probabilistic: {sampling_percentage: 7}}"][:count]
    found = [ERRORS, SLOW, REST]
    for number in range(count - 3):
        if number % 3 == 2:
            key = NUMBERS[number // 3 % len(NUMBERS)]
            kind = f"numeric_attribute, numeric_attribute: {{key: {key}, min_value: {10**6 + number}, max_value: {10**7}}}"
        else:
            kind = f"string_attribute, string_attribute: {{key: {KEYS[number % len(KEYS)]}, values: [never-{number}, nor-{number}]}}"
        found.append(f"{{name: p{number}, type: {kind}}}")
    return found


class Points:
    """The points of the charts. Each function measures one point once."""

    def __init__(self, options, program, load, sink, in_process):
        self.options, self.program, self.load, self.sink, self.in_process = options, program, load, sink, in_process
        self.seconds = 3 if options.quick else 8
        self.held_spans = 100_000 if options.quick else 1_000_000

    def pending(self, count):
        seconds = 1 if self.options.quick else 5
        values = last_json(pinned(DAEMON_CORE, [self.in_process, "--pending", count, "--seconds", seconds]))
        if count >= 100_000:
            values["daemon"] = self.hold(lambda: self.send("--proto", "grpc", "--max-spans", count, "--duration", 120), {})
        return values

    def cores(self, count):
        seconds = 1 if self.options.quick else 5
        cores = ",".join([DAEMON_CORE, LOAD_CORE][:count])
        return last_json(pinned(cores, [self.in_process, "--pending", 1_000_000, "--threads", count, "--seconds", seconds]))

    def connections(self, count):
        # At least two requests on each connection, at a rate that leaves the daemon idle time: the chart is not about
        # throughput.
        rate = ["--proto", "grpc", "--connections", count, "--rate", 100_000, *SMALL_BATCH]
        spans = max(self.held_spans // 2, 128 * count)
        flow = self.flow(lambda: self.send(*rate, "--duration", self.seconds), {})
        held = self.hold(lambda: self.send(*rate, "--max-spans", spans, "--duration", 60), {})
        return {**flow, **held}

    def services(self, count):
        return self.both(["--services", count], {})

    def policies(self, count):
        return self.both([], {"policies": policies(count)})

    def spans_per_trace(self, count):
        return self.both(["--spans-per-trace", count], {})

    def both(self, shape, config):
        flow = self.flow(lambda: self.send(*shape, "--duration", self.seconds), config)
        held = self.hold(lambda: self.send(*shape, "--max-spans", self.held_spans, "--duration", 60), config)
        return {**flow, **held}

    def flow(self, send, config):
        """Measures the CPU time of all work for a span, with decisions and export."""
        with Running(self.program, self.sink, FLOW_WAIT_S, rescue=False, **config) as run:
            before = run.daemon.cpu()
            sent = send()
            run.sink.settle(FLOW_WAIT_S + 2)
            cpu = run.daemon.cpu() - before
            lost = sent["sent"] - sent["acked"]
            return {"cpu_us": cpu / max(sent["acked"], 1) * 1e6, "acked": sent["acked"], "not_acked": lost, "ack_p99_ms": sent["ack_p99_ms"]}

    def hold(self, send, config):
        """Measures the memory of spans that wait for their decision, and the CPU time of accepting them."""
        with Running(self.program, self.sink, HOLD_WAIT_S, rescue=False, **config) as run:
            daemon = run.daemon
            before = daemon.cpu()
            sent = send()
            time.sleep(2)
            cpu = daemon.cpu() - before
            spans = max(sent["acked"], 1)
            beyond = (daemon.memory_mib() - run.idle_mib) * 2**20 / spans - sent["bytes_per_span"]
            peak = (daemon.memory_mib("VmHWM") - run.idle_mib) * 2**20 / spans - sent["bytes_per_span"]
            # SIGKILL, because a stop would decide and export all pending spans.
            daemon.stop(signal.SIGKILL)
            return {"beyond_wire": beyond, "peak_beyond_wire": peak, "ingest_us": cpu / spans * 1e6, "held": sent["acked"]}

    def send(self, *arguments):
        return last_json(pinned(LOAD_CORE, [self.load, *arguments]))


@dataclass
class Chart:
    name: str
    title: str
    x_label: str
    points: list
    # For each panel: the label of the y axis, and its series (name, key of the values).
    panels: list


CPU = ("CPU, us a span", [("all work", "cpu_us")])
MEMORY = ("memory beyond wire bytes, B a span", [("held", "beyond_wire")])
CHARTS = [
    Chart("pending", "Pending spans", "pending spans", [1_000, 10_000, 100_000, 1_000_000, 10_000_000], [
        ("CPU, us a span", [("in process, all work", "cpu_us"), ("daemon, taking in", "daemon.ingest_us")]),
        ("memory beyond wire bytes, B a span", [("in process", "beyond_wire"), ("daemon", "daemon.beyond_wire")]),
    ]),
    Chart("connections", "Connections (hollow: the daemon did not answer all)", "gRPC connections", CONNECTIONS, [
        CPU, ("memory beyond wire bytes, B a span", [("afterwards", "beyond_wire"), ("at the peak", "peak_beyond_wire")]),
    ]),
    Chart("services", "Services", "services", [1, 10, 100, 1_000], [CPU, MEMORY]),
    Chart("policies", "Policies", "policies", [1, 3, 10, 20, 50], [CPU, MEMORY]),
    Chart("spans_per_trace", "Spans a trace", "spans a trace", [1, 10, 100, 1_000, 10_000], [CPU, MEMORY]),
    Chart("cores", "One core and two, in process, 1 M pending", "threads", [1, 2], [("spans/s", [("in process", "spans_per_s")])]),
]


def measure_all(options, points, digest, journal):
    for number in range(1, options.runs + 1):
        for c in CHARTS:
            for x in c.points if c.name in options.names else []:
                journal.measure(lambda: getattr(points, c.name)(x), case=c.name, x=x, digest=digest, run=number)


def value(values, key):
    for part in key.split("."):
        values = values.get(part) if values else None
    return values


def series(journal, digest, c, key):
    found = []
    for x in c.points:
        entries = [e["values"] for e in journal.find(case=c.name, x=x, digest=digest)]
        spread = Spread.of([value(v, key) for v in entries])
        if spread:
            is_whole = not any(v.get("not_acked") for v in entries)
            found.append((x, max(spread.median, 0), max(spread.least, 0), max(spread.most, 0), is_whole))
    return found


def table(c, journal, digest):
    """Returns the points of a chart as a Markdown table."""
    keys = [(f"{name}, {label}", key) for label, panel in c.panels for name, key in panel]
    lines = ["| " + " | ".join([c.x_label] + [label for label, _ in keys]) + " |", "|" + " --- |" * (len(keys) + 1)]
    columns = [{p[0]: p for p in series(journal, digest, c, key)} for _, key in keys]
    for x in c.points:
        cells = [f"{p[1]:,.3g} [{p[2]:,.3g} - {p[3]:,.3g}]" if p and p[1] < 1000 else f"{p[1]:,.0f}" if p else "-" for p in (col.get(x) for col in columns)]
        lines.append("| " + " | ".join([f"{x:,}", *cells]) + " |")
    return "\n".join(lines)


def section(journal, digest, facts):
    """Draws all charts that have data; returns their Markdown."""
    parts = [f"{facts['cpu']}, {facts['cores']} cores, {facts['date']}, commit {facts['commit']}. Warm memory, median [least - most]."]
    for c in CHARTS:
        if not any(series(journal, digest, c, key) for _, panel in c.panels for _, key in panel):
            continue
        path = RESULTS / f"growth-{c.name.replace('_', '-')}.svg"
        panels = [(label, [(name, series(journal, digest, c, key)) for name, key in panel]) for label, panel in c.panels]
        path.write_text(chart(c.title, c.x_label, panels))
        parts += [f"![{c.title}]({RESULTS.name}/{path.name})", table(c, journal, digest)]
    return "\n\n".join(parts)


def main():
    names = [c.name for c in CHARTS]
    parser = measure.arguments(__doc__, names)
    parser.set_defaults(runs=3)
    options = measure.parse(parser, names)
    measure.allow_open_files()
    binary = measure.build_daemon(options)
    program = Program("Spansieve", binary, SPANSIEVE_CONFIG)
    journal = Journal("growth", options)
    if not options.report:
        helpers = [measure.build_helper(name, options) for name in ("load", "sink", "in_process")]
        measure.isolate(options)
        measure_all(options, Points(options, program, *helpers), program.digest, journal)
    for c in CHARTS:
        print(f"\n{c.title}\n{table(c, journal, program.digest)}")
    if options.write:
        facts = measure.machine(binary)
        raw = {"machine": facts, "runs": journal.find(digest=program.digest)}
        (RESULTS / "growth.json").write_text(json.dumps(raw, indent=1) + "\n")
        measure.replace_between(ROOT / "benches" / "RESULTS.md", "growth", section(journal, program.digest, facts))


if __name__ == "__main__":
    main()
