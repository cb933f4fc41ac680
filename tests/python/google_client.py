#!/usr/bin/env python3
"""Writes spans with Google's own client to the embedded Cloud Trace, over gRPC and over REST, and reads them back.

    venv/bin/pip install -r tests/python/requirements.txt
    venv/bin/python tests/python/google_client.py target/release/spansieve
"""

import argparse
import contextlib
import datetime
import json
import pathlib
import secrets
import subprocess
import urllib.request

import grpc
from google.api_core.exceptions import BadRequest
from google.auth.credentials import AnonymousCredentials
from google.cloud import trace_v2
from google.cloud.trace_v2.services.trace_service.transports import TraceServiceGrpcTransport, TraceServiceRestTransport

PROJECT = "projects/local-project"


def clients(address):
    """Returns the client with each of its transports, as docs/embedded-cloud-trace.md shows."""
    channel = grpc.insecure_channel(address)
    rest = TraceServiceRestTransport(host=address, url_scheme="http", credentials=AnonymousCredentials())
    return {
        "grpc": trace_v2.TraceServiceClient(transport=TraceServiceGrpcTransport(channel=channel)),
        "rest": trace_v2.TraceServiceClient(transport=rest),
    }


def text_of(value):
    """Returns a string in the API's form."""
    return trace_v2.TruncatableString(value=value)


def span(trace_id, name, parent=""):
    """Returns a span of 5 ms that ended just now, with every kind of attribute."""
    span_id = secrets.token_hex(8)
    end = datetime.datetime.now(datetime.timezone.utc)
    attributes = {
        "service.name": trace_v2.AttributeValue(string_value=text_of("python")),
        "count": trace_v2.AttributeValue(int_value=2**60),
        "yes": trace_v2.AttributeValue(bool_value=True),
    }
    event = trace_v2.Span.TimeEvent(
        time=end, annotation=trace_v2.Span.TimeEvent.Annotation(description=text_of("retry"))
    )
    return trace_v2.Span(
        name=f"{PROJECT}/traces/{trace_id}/spans/{span_id}",
        span_id=span_id,
        parent_span_id=parent,
        display_name=text_of(name),
        start_time=end - datetime.timedelta(milliseconds=5),
        end_time=end,
        attributes=trace_v2.Span.Attributes(attribute_map=attributes),
        time_events=trace_v2.Span.TimeEvents(time_event=[event]),
        status={"code": 2, "message": "broken"},
        same_process_as_parent_span=True,
        span_kind=trace_v2.Span.SpanKind.SERVER,
    )


def get(url):
    """Returns the JSON of a GET."""
    with urllib.request.urlopen(url, timeout=5) as response:
        return json.loads(response.read())


def check(name, client, url):
    """Writes a batch, a single span and an invalid batch, and checks the results."""
    trace_id = secrets.token_hex(16)
    root = span(trace_id, "root")
    client.batch_write_spans(name=PROJECT, spans=[root, span(trace_id, "child", root.span_id)])
    third = span(trace_id, "third", root.span_id)
    created = client.create_span(request=third)
    assert created.span_id == third.span_id and created.display_name.value == "third", f"{name}: {created}"
    stored = get(f"{url}/api/traces/{trace_id}")
    assert sorted(s["name"] for s in stored["spans"]) == ["child", "root", "third"], f"{name}: {stored}"
    for s in stored["spans"]:
        assert s["kind"] == "SERVER" and s["error"] and s["status"]["name"] == "UNKNOWN", f"{name}: {s}"
        assert s["attributes"] == {"service.name": "python", "count": str(2**60), "yes": True}, f"{name}: {s}"
        assert [event["name"] for event in s["events"]] == ["retry"], f"{name}: {s}"
    bad = span(trace_id, "n" * 1025)
    try:
        client.batch_write_spans(name=PROJECT, spans=[bad])
    except BadRequest as error:
        assert "display_name has 1025 bytes" in str(error), f"{name}: {error}"
    else:
        raise AssertionError(f"{name}: a name that is too long was accepted")


@contextlib.contextmanager
def emulator(binary):
    """Runs the embedded Cloud Trace alone; yields its address."""
    command = [binary, "emulator", "--listen", "127.0.0.1:0"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        # The first line of its output is "Embedded Cloud Trace on 127.0.0.1:PORT".
        yield process.stdout.readline().split()[-1]
    finally:
        process.kill()
        process.wait()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary", type=pathlib.Path)
    arguments = parser.parse_args()
    with emulator(arguments.binary.resolve()) as address:
        for name, client in clients(address).items():
            check(name, client, f"http://{address}")
    print("google client: ok")


if __name__ == "__main__":
    main()
