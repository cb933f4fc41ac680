#!/usr/bin/env python3
"""Runs a Collector and Spansieve side by side on the same traces, the Collector with its configuration and Spansieve with
what `spansieve import` makes of it, and compares which traces each of them keeps.

    tools/side-by-side.py --spansieve target/debug/spansieve --collector otelcol-with-tail-sampling-and-googlecloud

Both write to an embedded Cloud Trace of their own. The exit code is 1 if a trace differs that is not known to differ.
"""

import argparse
import json
import random
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

PLACES = ("127.0.0.1:4318", "127.0.0.1:9443")
SECONDS_MAX = 60
RANDOM_TRACES = 400


def free_address():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return "127.0.0.1:%d" % listener.getsockname()[1]


def wait_for(address):
    host, port = address.split(":")
    end = time.monotonic() + SECONDS_MAX
    while time.monotonic() < end:
        try:
            socket.create_connection((host, int(port)), 1).close()
            return
        except OSError:
            time.sleep(0.1)
    sys.exit("nothing listens on " + address)


def attribute(key, value):
    kind = {bool: "boolValue", int: "intValue", str: "stringValue"}[type(value)]
    return {"key": key, "value": {kind: str(value) if kind == "intValue" else value}}


def trace(number):
    """Returns the name and the request of a trace of one to four spans. Some of its values match the policies."""
    draw = random.Random(number)
    trace_id, start = "%032x" % draw.getrandbits(128), time.time_ns() - 300 * 10**9
    spans = []
    for index in range(draw.randint(1, 4)):
        attributes = []
        if draw.random() < 0.3:
            attributes.append(attribute("number", draw.randrange(200)))
        if draw.random() < 0.3:
            attributes.append(attribute("route", draw.choice(["/health", "/live", "/item", "/api/livestock"])))
        if draw.random() < 0.25:
            attributes.append(attribute("flag", draw.random() < 0.5))
        begin = start + draw.randrange(50) * 10**6
        span = {
            "traceId": trace_id, "spanId": "%016x" % (number * 256 + index + 1), "name": "GET /item",
            "kind": draw.randint(1, 5), "startTimeUnixNano": str(begin),
            "endTimeUnixNano": str(begin + draw.choice([3, 40, 600, 1200]) * 10**6), "attributes": attributes,
            "status": {"code": draw.choice([0, 0, 0, 1, 2])}, "flags": draw.choice([0, 0, 0, 0, 0, 1]),
        }
        if index:
            span["parentSpanId"] = "%016x" % (number * 256 + 1)
        if draw.random() < 0.05:
            span["events"] = [{"name": "exception", "timeUnixNano": str(begin)}]
        if draw.random() < 0.05:
            span["traceState"] = draw.choice(["vendor=a,other=b", "vendor=c"])
        spans.append(span)
    resource = {"attributes": [attribute("service.name", draw.choice(["api", "db"])), attribute("team", "a")]}
    return trace_id, {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": {"name": "s"}, "spans": spans}]}]}


def post(address, body):
    request = urllib.request.Request(f"http://{address}/v1/traces", json.dumps(body).encode(),
                                     {"content-type": "application/json"})
    urllib.request.urlopen(request, timeout=10).read()


def get(url):
    return json.loads(urllib.request.urlopen(url, timeout=10).read())


def kept(name, spansieve, command, configuration, suffix, traces):
    """Returns the ids of the traces that `command` keeps with the configuration."""
    otlp, sink = free_address(), free_address()
    text = configuration.replace(PLACES[0], otlp).replace(PLACES[1], sink)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / suffix
        path.write_text(text)
        log = open(Path(directory) / "log", "w+")
        cloud_trace = subprocess.Popen([spansieve, "emulator", "--listen", sink], stdout=subprocess.DEVNULL)
        wait_for(sink)
        program = subprocess.Popen(command + ["--config", str(path)], stdout=log, stderr=log)
        try:
            wait_for(otlp)
            for _, body in traces:
                post(otlp, body)
            before, ids = -1, set()
            # Both wait one second for a trace, and write what they keep soon after.
            while before != len(ids) or not ids:
                before = len(ids)
                time.sleep(4)
                ids = {row["trace_id"] for row in get(f"http://{sink}/api/traces?limit=1000")}
                if program.poll() is not None:
                    log.seek(0)
                    sys.exit(f"{name} has ended:\n{log.read()}")
            return ids
        finally:
            program.kill()
            cloud_trace.kill()
            program.wait()
            cloud_trace.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spansieve", default="target/release/spansieve")
    parser.add_argument("--collector", default="otelcol-peer")
    parser.add_argument("--configuration", default=str(Path(__file__).with_suffix(".yaml")))
    arguments = parser.parse_args()
    imported = subprocess.run([arguments.spansieve, "import", arguments.configuration], capture_output=True, text=True)
    print(imported.stderr, end="", file=sys.stderr)
    if imported.returncode:
        sys.exit(imported.returncode)
    traces = [trace(number) for number in range(1, RANDOM_TRACES + 1)]
    original = Path(arguments.configuration).read_text()
    ours = kept("Spansieve", arguments.spansieve, [arguments.spansieve, "run"], imported.stdout, "ours.yaml", traces)
    theirs = kept("the Collector", arguments.spansieve, [arguments.collector], original, "theirs.yaml", traces)
    print(f"{len(traces)} traces: {len(ours & theirs)} kept by both, {len(ours - theirs)} by Spansieve alone, "
          f"{len(theirs - ours)} by the Collector alone")
    for trace_id in sorted(ours ^ theirs):
        print(trace_id, "is kept by", "Spansieve alone" if trace_id in ours else "the Collector alone")
    sys.exit(1 if ours != theirs else 0)


if __name__ == "__main__":
    main()
