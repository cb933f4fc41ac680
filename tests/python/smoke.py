#!/usr/bin/env python3
"""Starts the daemon, sends it spans with the stock Python exporters and reads the kept ones back.

    python3 -m venv venv && venv/bin/pip install -r tests/python/requirements.txt
    venv/bin/python tests/python/smoke.py target/release/spansieve [--demo "cargo run --release -- demo"]

Each protocol, plain, gzipped and deflated, sends one trace with an error, one slow trace and one healthy trace. The
embedded Cloud Trace must then have the first two complete, each with the policy that kept it, and not the third. With
--demo, that command is run in the repository with its config.yaml, and must show kept traces, too. SIGTERM must end
both with code 0.
"""

import argparse
import contextlib
import json
import pathlib
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import grpc
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http import Compression as HttpCompression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
REPOSITORY_PORTS = {"http": 4318, "page": 8080}  # those of config.yaml there

START_S = 20  # from the start of the process to ready
EXPORT_S = 10  # for one flush of an exporter
KEEP_S = 30  # from the last export to all kept traces readable; decision_wait below is 1 s
DEMO_S = 60  # from the start of the demo to one error and one slow trace
STOP_S = 10  # Cloud Run's time between SIGTERM and SIGKILL

CONFIG = """
otlp:
  listen: ["127.0.0.1:{grpc}", "127.0.0.1:{http}"]
tail_sampling:
  decision_wait: 1s
  policies:
    - {{name: errors, type: error}}
    - {{name: slow, type: latency, latency: {{threshold_ms: 1000}}}}
resource:
  attributes:
    - {{key: deployment.environment.name, value: smoke, action: upsert}}
export:
  endpoint: embedded
  embedded: {{listen: "127.0.0.1:{page}"}}
  project: smoke-project
  batch: {{max_delay: 100ms}}
memory:
  limit: 256MiB
telemetry:
  log: {{level: info, format: json}}
"""

SECOND = 1_000_000_000  # ns


def free_ports(*names):
    """Returns a free loopback port for each name."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in names]
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return {name: s.getsockname()[1] for name, s in zip(names, sockets)}


def get(port, path):
    """Returns the body of a GET, or None for 404."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as response:
            return response.read().decode()
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise


def wait_for(what, seconds, attempt):
    """Repeats `attempt` for up to `seconds`; returns its first true result."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError):
            if result := attempt():
                return result
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.1)


@contextlib.contextmanager
def daemon(command, folder, http_port):
    """Runs `command` in `folder` until it is ready; yields a reader of its output. SIGTERM must end it with code 0."""
    with tempfile.NamedTemporaryFile() as file:
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=file, stderr=file)

        def output():
            return pathlib.Path(file.name).read_text()

        def ready():
            assert process.poll() is None, f"{command} ended with {process.returncode}"
            return get(http_port, "/readyz") is not None

        try:
            wait_for("/readyz", START_S, ready)
            yield output
            process.send_signal(signal.SIGTERM)
            code = process.wait(STOP_S)
            assert code == 0, f"exit code {code} after SIGTERM"
        except BaseException:
            print(output()[-20_000:], file=sys.stderr)
            raise
        finally:
            process.kill()
            process.wait()


def exporters(ports):
    """Returns a stock exporter for each protocol and compression, by the name of its service."""
    grpc_url = f"http://127.0.0.1:{ports['grpc']}"
    http_url = f"http://127.0.0.1:{ports['http']}/v1/traces"
    return {
        "grpc-plain": GrpcExporter(grpc_url, insecure=True, timeout=EXPORT_S, compression=grpc.Compression.NoCompression),
        "grpc-gzip": GrpcExporter(grpc_url, insecure=True, timeout=EXPORT_S, compression=grpc.Compression.Gzip),
        "grpc-deflate": GrpcExporter(grpc_url, insecure=True, timeout=EXPORT_S, compression=grpc.Compression.Deflate),
        "http-plain": HttpExporter(http_url, timeout=EXPORT_S, compression=HttpCompression.NoCompression),
        "http-gzip": HttpExporter(http_url, timeout=EXPORT_S, compression=HttpCompression.Gzip),
        "http-deflate": HttpExporter(http_url, timeout=EXPORT_S, compression=HttpCompression.Deflate),
    }


def send(service, exporter):
    """Sends three traces of two spans each; returns their ids by "errors", "slow" and "healthy"."""
    provider = TracerProvider(sampler=ALWAYS_ON, resource=Resource.create({"service.name": service}))
    provider.add_span_processor(BatchSpanProcessor(exporter, export_timeout_millis=EXPORT_S * 1000))
    tracer = provider.get_tracer("smoke", "1.0")
    ids = {}
    for kind, duration in ("errors", SECOND // 10), ("slow", 12 * SECOND // 10), ("healthy", SECOND // 10):
        start = time.time_ns() - 5 * SECOND
        root = tracer.start_span("POST /orders", kind=trace.SpanKind.SERVER, start_time=start)
        root.set_attributes({"http.request.method": "POST", "http.route": "/orders", "order.items": 3})
        child = tracer.start_span("charge", trace.set_span_in_context(root), trace.SpanKind.CLIENT, start_time=start + 1)
        if kind == "errors":
            child.add_event("card declined", {"attempt": 1})
            child.set_status(trace.StatusCode.ERROR, "payment failed")
        child.end(start + duration - 1)
        root.end(start + duration)
        ids[kind] = format(root.get_span_context().trace_id, "032x")
    assert provider.force_flush(EXPORT_S * 1000), f"{service}: the flush did not end"
    provider.shutdown()
    return ids


def kept_spans(port, trace_id):
    """Returns the spans of a kept trace by name, once both are stored."""
    body = get(port, f"/api/traces/{trace_id}")
    spans = json.loads(body)["spans"] if body else []
    return {span["name"]: span for span in spans} if len(spans) == 2 else None


def fate(port, trace_id):
    """Returns the fate of a trace that is not stored; None if it is stored."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/traces/{trace_id}", timeout=5):
            return None
    except urllib.error.HTTPError as error:
        assert error.code == 404, error
        return json.load(error)["fate"]


def check_kept(spans, service, policy):
    """Checks that the spans have the content that was sent, the policy and the adjusted count."""
    at = f"{service}, {policy}: {json.dumps(spans)}"
    assert set(spans) == {"POST /orders", "charge"}, at
    root, child = spans["POST /orders"], spans["charge"]
    assert root["parent_span_id"] is None and child["parent_span_id"] == root["span_id"], at
    assert root["kind"] == "SERVER" and child["kind"] == "CLIENT", at
    assert root["attributes"]["http.route"] == "/orders" and root["attributes"]["order.items"] == 3, at
    assert child["error"] == (policy == "errors"), at
    assert [event["name"] for event in child["events"]] == (["card declined"] if policy == "errors" else []), at
    for span in root, child:
        attributes = span["attributes"]
        assert attributes["service.name"] == service, at
        assert attributes["deployment.environment.name"] == "smoke", at
        assert attributes["spansieve.policy"] == policy, at
        assert float(attributes["spansieve.adjusted_count"]) == 1, at


def missing_spans(port):
    """Returns received - (exported + sampled out + rejected + dropped + held): docs/metrics.md, the conservation
    law."""
    sums = {}
    for line in get(port, "/metrics").splitlines():
        if line and not line.startswith("#"):
            series, value = line.rsplit(" ", 1)
            name = series.split("{", 1)[0]
            sums[name] = sums.get(name, 0) + float(value)
    left = ("exported_spans_total", "sampled_out_spans_total", "handed_over_spans_total", "rejected_spans_total", "dropped_spans_total", "held_spans")
    return sums["spansieve_received_spans_total"] - sum(sums[f"spansieve_{name}"] for name in left)


def check_run(binary, folder):
    """Checks that the traces of every protocol are kept or dropped according to the policies."""
    ports = free_ports("grpc", "http", "page")
    (folder / "config.yaml").write_text(CONFIG.format(**ports))
    with daemon([binary, "run", "--config", "config.yaml"], folder, ports["http"]) as output:
        sent = {service: send(service, exporter) for service, exporter in exporters(ports).items()}
        for service, ids in sent.items():
            for policy in "errors", "slow":
                what = f"{service}, {policy}: both spans of {ids[policy]}"
                spans = wait_for(what, KEEP_S, lambda: kept_spans(ports["page"], ids[policy]))
                check_kept(spans, service, policy)
        # When no span is pending, every trace has been decided: those that are not stored by then were dropped.
        wait_for("no span pending", KEEP_S, lambda: "spansieve_held_spans{state=\"pending\"} 0" in get(ports["http"], "/metrics"))
        wait_for("the conservation law", KEEP_S, lambda: missing_spans(ports["http"]) == 0)
        for service, ids in sent.items():
            assert fate(ports["page"], ids["healthy"]) == "sampled_out", f"{service}: the healthy trace"
            assert fate(ports["page"], "f" * 32) == "unknown", f"{service}: a trace that never came"
        assert "OTEL_EXPORTER_OTLP_ENDPOINT" in output(), "the output at the start does not name the variable to set"


def check_demo(command):
    """Checks the demo, which is the first thing that users see."""
    with daemon(shlex.split(command), REPOSITORY, REPOSITORY_PORTS["http"]):
        page = REPOSITORY_PORTS["page"]
        for kind in "errors", "slow":
            path = f"/api/traces?filter={kind}&policy={kind}"
            wait_for(f"demo: {path}", DEMO_S, lambda: json.loads(get(page, path) or "[]"))
        assert "<html" in get(page, "/").lower(), "the page is not HTML"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary", type=pathlib.Path)
    parser.add_argument("--demo", metavar="COMMAND")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        check_run(arguments.binary.resolve(), pathlib.Path(folder))
    print("run: ok")
    if arguments.demo:
        check_demo(arguments.demo)
        print("demo: ok")


if __name__ == "__main__":
    main()
