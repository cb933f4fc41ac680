#!/usr/bin/env python3
"""Measures a fleet: what three instances cost beside one, what they tell one another, and what an engine that is away loses.

    benches/fleet.py                    # everything, five rounds: 35 minutes
    benches/fleet.py --runs 1 outage    # only the engine that is killed for 30 seconds under load
    benches/fleet.py --write            # also writes the table into benches/RESULTS.md

`cost`: one daemon, three daemons without a fleet, and three that are one, each at the same total load; the spans of a trace
come in up to three requests, which go to the instances at random. `outage`: three daemons; the engine is killed and comes back, without
its data. All spans of the members, and those that the sink received, are counted by `span_metrics`.

The engine is a `redis-server` or `valkey-server` of the PATH, the sink a fourth daemon that takes OTLP. The daemons share
core 0; load, sink and engine have core 1.
"""
import contextlib
import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import measure
from measure import LOAD_CORE, ROOT, Spansieve, Spread, metric, pinned, wait

PORTS = [18111, 18112, 18113]
SINK_PORT, ENGINE_PORT = 18114, 18115
INSTANCES = len(PORTS)
FIGURES = {
    "cost": "CPU a span, bytes between the instances, and the traffic of the engine",
    "outage": "the engine is killed under load: evidence lost, and errors of ingest",
}
# All daemons count all spans by the same bounds; a span is slow beyond the last one, which is the threshold of the policy.
COUNTS = 'span_metrics: {spans: all, buckets: [500ms, 999ms], service_graph: false}'
OUTAGE_S = 30
# Connections, caches and the first traces that are decided.
SETTLE_S = 5


def address(port):
    return f"127.0.0.1:{port}"


class Engine:
    def __init__(self, folder):
        self.program = shutil.which("valkey-server") or shutil.which("redis-server")
        if not self.program:
            raise SystemExit("neither valkey-server nor redis-server is on the PATH")
        self.folder = folder
        self.start()

    def start(self):
        options = ["--port", ENGINE_PORT, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", self.folder]
        self.process = subprocess.Popen(pinned(LOAD_CORE, [self.program, *options]), stdout=subprocess.DEVNULL)
        wait("the engine answers", lambda: self.info())

    def info(self):
        """Returns the numbers of `INFO stats`."""
        with socket.create_connection(("127.0.0.1", ENGINE_PORT), 5) as connection:
            connection.sendall(b"INFO stats\r\n")
            text = connection.makefile("rb")
            size = int(text.readline()[1:])
            lines = text.read(size).decode().splitlines()
        pairs = (line.partition(":") for line in lines if ":" in line)
        return {name: float(value) for name, _, value in pairs if re.fullmatch(r"[\d.]+", value)}

    def kill(self):
        self.process.kill()
        self.process.wait()


class Bench:
    def __init__(self, options, binary, load, folder):
        self.options, self.binary, self.load, self.folder = options, binary, load, folder
        self.engine = Engine(folder)

    @contextlib.contextmanager
    def running(self, instances, more="", is_fleet=True):
        """Runs a sink and so many instances; several are a fleet if `is_fleet` is true."""
        sink = Spansieve(
            self.binary, self.folder, address(SINK_PORT),
            f"{COUNTS}\ntail_sampling: {{decision_wait: 1s, policies: [{{name: none, type: probabilistic, probabilistic: {{sampling_percentage: 0}}}}]}}\n"
            "export: {api: otlp, endpoint: \"http://127.0.0.1:1\"}", LOAD_CORE,
        )
        fleet = f"fleet: {{url: 'redis://127.0.0.1:{ENGINE_PORT}'}}" if instances > 1 and is_fleet else ""
        text = f"""{more}
{fleet}
export: {{api: otlp, endpoint: "http://127.0.0.1:{SINK_PORT}"}}
tail_sampling:
  decision_wait: {self.options.wait}s
  policies:
    - {{name: errors, type: status_code, status_code: {{status_codes: [ERROR]}}}}
    - {{name: slow, type: latency, latency: {{threshold_ms: 1000}}}}
    - {{name: rest, type: probabilistic, probabilistic: {{sampling_percentage: 5}}}}"""
        daemons = []
        try:
            for port in PORTS[:instances]:
                daemons.append(Spansieve(self.binary, self.folder, address(port), text))
            if fleet:
                wait("the members meet", lambda: all(d.metric("spansieve_fleet_members", 'policies="same"') == instances for d in daemons))
            yield daemons, sink
        finally:
            for daemon in (*daemons, sink):
                daemon.stop()

    def start_load(self, daemons, seconds):
        command = [self.load, "--endpoint", ",".join(daemon.address for daemon in daemons), "--rate", self.options.rate]
        command += ["--batch", self.options.batch, "--connections", self.options.connections, "--duration", seconds]
        return subprocess.Popen(list(map(str, pinned(LOAD_CORE, command))), stdout=subprocess.PIPE, text=True)

    def cost(self):
        one, apart, three = self.window(1), self.window(INSTANCES, False), self.window(INSTANCES)
        return {"one_us": one["us"], "apart_us": apart["us"], "three_us": three["us"], **{key: three[key] for key in three if key != "us"}}

    def window(self, instances, is_fleet=True):
        """Returns the figures of one window with so many instances."""
        seconds, wait_s = self.options.seconds, self.options.wait
        with self.running(instances, is_fleet=is_fleet) as (daemons, _):
            load = self.start_load(daemons, SETTLE_S + wait_s + seconds + 3)
            wait("spans come", lambda: sum(d.metric("spansieve_received_spans_total") for d in daemons) > 0)
            time.sleep(SETTLE_S + wait_s)
            names = ("spansieve_received_spans_total", "spansieve_decided_traces_total")

            def facts():
                texts = [daemon.metrics() for daemon in daemons]
                sums = {name: sum(metric(text, name) for text in texts) for name in names}
                sums["sent"] = sum(metric(text, "spansieve_fleet_bytes_total", 'direction="sent"') for text in texts)
                sums["alone"] = sum(metric(text, "spansieve_decided_traces_total", 'trigger="alone"') for text in texts)
                sums["cpu"] = sum(daemon.cpu() for daemon in daemons)
                return {**sums, **{f"engine {name}": value for name, value in self.engine.info().items()}, "at": time.monotonic()}

            before = facts()
            time.sleep(seconds)
            after = facts()
            result = finished(load)
        d = {name: after[name] - before[name] for name in before if name in after}
        found = {"us": 1e6 * d["cpu"] / d["spansieve_received_spans_total"], "errors": result["refused"] + result["lost"]}
        if instances > 1 and is_fleet:
            found |= {
                "bytes": d["sent"] / d["spansieve_decided_traces_total"],
                "alone": d["alone"],
                "spans_s": d["spansieve_received_spans_total"] / d["at"],
                "in_mb_s": d["engine total_net_input_bytes"] / d["at"] / 1e6,
                "out_mb_s": d["engine total_net_output_bytes"] / d["at"] / 1e6,
                "commands_s": d["engine total_commands_processed"] / d["at"],
            }
        return found

    def outage(self):
        away_s = 10 if self.options.quick else OUTAGE_S
        with self.running(INSTANCES, COUNTS) as (daemons, sink):
            load = self.start_load(daemons, SETTLE_S + self.options.wait + away_s + 15)
            time.sleep(SETTLE_S + self.options.wait)
            self.engine.kill()
            started = time.monotonic()
            wait("the engine is missed", lambda: all(d.metric("spansieve_fleet_up") == 0 for d in daemons))
            time.sleep(max(0, away_s - (time.monotonic() - started)))
            self.engine.start()
            wait("all are back", lambda: all(d.metric("spansieve_fleet_members", 'policies="same"') == INSTANCES for d in daemons))
            result = finished(load)

            def is_idle(daemon):
                text = daemon.metrics()
                return metric(text, "spansieve_held_spans", 'state="pending"') + metric(text, "spansieve_held_spans", 'state="export"') == 0

            wait("all is decided", lambda: all(is_idle(d) for d in daemons), 120)
            sent = [evidence(daemon) for daemon in daemons]
            kept = evidence(sink)
            texts = [daemon.metrics() for daemon in daemons]
        errors, slow = (sum(pair[i] for pair in sent) for i in (0, 1))
        return {
            "errors": errors, "errors_lost": errors - kept[0], "slow": slow, "slow_lost": slow - kept[1], "acked": result["acked"],
            "ingest_errors": result["refused"] + result["lost"], "away_s": away_s,
            "alone": sum(metric(text, "spansieve_decided_traces_total", 'trigger="alone"') for text in texts),
            "given_up": sum(metric(text, "spansieve_fleet_lost_messages_total", 'reason="given_up"') for text in texts),
        }


def evidence(daemon):
    """Returns the error spans and the slow spans that a daemon accepted."""
    text = daemon.metrics()
    count, quick = (metric(text, f"traces_span_metrics_duration_seconds_{part}", labels)
                    for part, labels in (("count", ""), ("bucket", 'le="0.999"')))
    return metric(text, "traces_span_metrics_calls_total", "STATUS_CODE_ERROR"), count - quick


def finished(load):
    return json.loads(load.communicate(timeout=measure.RUN_SECONDS_MAX)[0].splitlines()[-1])


def report(options, runs, binary):
    facts = measure.machine(binary)
    lines = ["| figure | goal | measured |", "| --- | --- | --- |"]

    def row(what, goal, values, form="{:.0f}"):
        spread = Spread.of(values)
        span = "" if spread.runs == 1 else f" [{form.format(spread.least)} - {form.format(spread.most)}]"
        lines.append(f"| {what} | {goal} | {form.format(spread.median)}{span} |")

    cost, outage = runs.get("cost", []), runs.get("outage", [])
    if cost:
        of = lambda key: [values[key] for values in cost]
        row("bytes between instances, a trace and holding instance", "<= 120", of("bytes"))
        row("CPU a span, us: one instance", "", of("one_us"), "{:.2f}")
        row(f"CPU a span, us: {INSTANCES} instances that know nothing of one another", "", of("apart_us"), "{:.2f}")
        row(f"CPU a span, us: {INSTANCES} instances of a fleet", "", of("three_us"), "{:.2f}")
        row("... more than one", "<= +15 %", [100 * (v["three_us"] / v["one_us"] - 1) for v in cost], "{:+.1f} %")
        row("the engine's traffic, MB/s (in and out)", "<= 1.5", [v["in_mb_s"] + v["out_mb_s"] for v in cost], "{:.2f}")
        row("... of that in", "", of("in_mb_s"), "{:.2f}")
        row("the engine's commands, a second (those in scripts count)", "<= 500", of("commands_s"))
        row("spans a second in these windows", "", of("spans_s"))
        row("traces decided alone in these windows", "0", of("alone"))
    if outage:
        of = lambda key: [values[key] for values in outage]
        away = outage[0]["away_s"]
        row(f"engine killed for {away} s: acknowledged error spans lost, of {of('errors')[0]:,.0f}", "0", of("errors_lost"))
        row(f"... slow spans lost, of {of('slow')[0]:,.0f}", "0", of("slow_lost"))
        row("... errors of ingest (spans)", "0", of("ingest_errors"))
        row("... proofs given up", "0", of("given_up"))
        row("... traces decided alone", "", of("alone"))
    shape = f"{options.rate:,} spans/s in requests of {options.batch} over {options.connections} connections (HTTP/protobuf), 6 spans a trace"
    count = max(map(len, runs.values()))
    lines += ["", f"{shape}, wait {options.wait} s. {facts['cpu']}, {facts['cores']} cores, Linux {facts['kernel']}; {facts['date']}; "
              f"build {facts['commit']}. Warm memory, windows of {options.seconds} s, medians of {count} runs, and the least and the most."]
    return "\n".join(lines)


def main():
    parser = measure.arguments(__doc__, list(FIGURES))
    parser.add_argument("--rate", type=int, default=20_000, help="spans a second (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=512, help="spans a request (default: %(default)s)")
    parser.add_argument("--connections", type=int, default=18, help="connections of senders (default: %(default)s)")
    parser.add_argument("--seconds", type=int, default=30, help="seconds of a window (default: %(default)s)")
    parser.add_argument("--wait", type=int, default=10, help="decision_wait in seconds (default: %(default)s)")
    parser.add_argument("--load", type=Path, help="use this load generator instead of building benches/load.rs")
    options = measure.parse(parser, list(FIGURES))
    if options.quick:
        options.seconds, options.wait, options.runs = 8, 4, 1
    binary, load = measure.build_daemon(options), options.load or measure.build_helper("load", options)
    folder = Path(tempfile.mkdtemp(prefix="spansieve-fleet-"))
    bench = Bench(options, binary, load.resolve(), folder)
    runs = {name: [] for name in options.names}
    try:
        for run in range(options.runs):
            for name, values in runs.items():
                values.append(getattr(bench, name)())
                print(f"{time.strftime('%H:%M:%S')} {run} {name} {json.dumps(values[-1])}", file=sys.stderr, flush=True)
    finally:
        bench.engine.kill()
        shutil.rmtree(folder)
    text = report(options, runs, binary)
    print(text)
    if options.write:
        measure.replace_between(ROOT / "benches" / "RESULTS.md", "fleet", text)


if __name__ == "__main__":
    main()
