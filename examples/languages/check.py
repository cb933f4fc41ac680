"""Asks the chain of services, lets each of them fail in turn, and compares what Spansieve kept with the answers.

    check.py FIRST_URL PAGE_URL OTLP_URL

CHROMIUM in the environment names a browser that opens the page. Exit code 1 names what is missing.
"""

import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

CHAIN = ["node", "go", "java", "rust"]
WAIT_S = 60  # decision_wait, the SDKs' delay and a busy machine
ROUNDS = 3


def read(url, headers={}):
    """Returns the status and the text of an answer."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def ask(first, failing):
    """Asks the chain to fail at a service. Returns the trace id, which the request brings along."""
    trace = secrets.token_hex(16)
    # A load balancer of Google says "not sampled"; with always_on the services send their spans all the same.
    status, text = read(f"{first}/work?fail={failing}", {"traceparent": f"00-{trace}-{secrets.token_hex(8)}-00"})
    assert status == 500 and f"{failing} fails as asked" in text, f"{failing}: {status} {text}"
    return trace


def open_page(first, page, otlp, failing):
    """Opens the page in a browser until a trace with its span is stored. Returns the id of that trace."""
    # Processes of the browser can outlive it for a moment, and still write into the folder.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [os.environ["CHROMIUM"], "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}", "--remote-debugging-port=0"]
        browser = subprocess.Popen([*command, f"{first}/?fail={failing}&otlp={otlp}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + WAIT_S
            while not (found := json.loads(read(f"{page}/api/traces?service=page")[1])):
                assert time.monotonic() < deadline, "no span of the page is stored"
                time.sleep(1)
        finally:
            browser.terminate()
            browser.wait()
    return found[0]["trace_id"]


def fault_of(page, trace, services, failing):
    status, text = read(f"{page}/api/traces/{trace}")
    stored = json.loads(text)
    if status != 200:
        return f"not stored: {text.strip()}"
    if set(stored["services"]) != services:
        return f"its services are {stored['services']}, not {sorted(services)}"
    if failing not in {span["service"] for span in stored["spans"] if span["error"]}:
        return f"no span of {failing} says that it failed"
    orphans = [span["name"] for span in stored["spans"] if not span["parent_stored"]]
    # The span of who asked is not stored, unless the page asked.
    if len(orphans) > (0 if "page" in services else 1) and stored["spans"][0]["service"] != "page":
        return f"spans without their parent: {orphans}"
    return None


def main(first, page, otlp):
    wanted = []
    for failing in CHAIN * ROUNDS:
        wanted.append((ask(first, failing), set(CHAIN[: CHAIN.index(failing) + 1]), failing))
    if os.environ.get("CHROMIUM"):
        wanted.append((open_page(first, page, otlp, "java"), {"page", "node", "go", "java"}, "java"))
    deadline = time.monotonic() + WAIT_S
    while faults := [f"{trace} ({failing}): {fault}" for trace, services, failing in wanted if (fault := fault_of(page, trace, services, failing))]:
        assert time.monotonic() < deadline, "\n".join(faults)
        time.sleep(1)
    browser = "and the page of a browser" if os.environ.get("CHROMIUM") else "(the page was not opened: CHROMIUM is not set)"
    print(f"{len(wanted)} failed requests, each kept with all its spans from {', '.join(CHAIN)} {browser}")
    print(f"one of them: {page}/traces/{wanted[-1][0]}")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except AssertionError as error:
        sys.exit(f"check: {error}")
