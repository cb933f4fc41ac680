"""Compares what Spansieve kept with what the users saw.

    check.py PAGE_URL LEDGER.json LOGS_FOLDER

Exit code 1 names what is missing.
"""

import json
import os
import pathlib
import sys
import time
import urllib.error
import urllib.request

SERVICES = {"gateway", "processor", "storage"}
WAIT_S = 30  # decision_wait, the SDKs' delay and a busy machine
SPANS_PER_SECOND, BURST_SPANS = 50, 500  # of the policy `rest` in spansieve.yaml
SLOW_MS = 1000


def read(url):
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return {"error": error.read().decode()}


def faults_of(trace, request):
    """Yields what is wrong with the stored trace of a request that failed or was slow."""
    if "spans" not in trace:
        yield trace.get("error", "not stored")
        return
    missing = SERVICES - set(trace["services"])
    if missing:
        yield f"no span of {', '.join(sorted(missing))}"
    # The users' own spans are not stored: the parent of one span is not stored.
    orphans = [span for span in trace["spans"] if not span["parent_stored"]]
    if len(orphans) > 1:
        yield f"{len(orphans)} spans without their parent: the trace has holes"
    if request["status"] >= 500 and trace["error_count"] == 0:
        yield "no span says that it failed"


def check_users(page, users):
    wanted = [request for request in users if request["status"] >= 500 or request["ms"] > SLOW_MS]
    kinds = {(request["path"].split("-")[0], request["status"]) for request in wanted}
    expected = {("documents/slow", 504), ("documents/broken", 502), ("reports/slow", 200)}
    assert kinds >= expected, f"the traffic is not what it should be: {kinds}"
    deadline = time.monotonic() + WAIT_S
    while True:
        faults = [
            f"{request['path']} ({request['status']}, {request['ms']:.0f} ms) {request['trace']}: {fault}"
            for request in wanted
            for fault in faults_of(read(f"{page}/api/traces/{request['trace']}"), request)
        ]
        if not faults:
            return len(wanted)
        assert time.monotonic() < deadline, "\n".join(faults)
        time.sleep(1)


def check_flood(page, ledger):
    rows = read(f"{page}/api/traces?policy=rest&limit=1000")
    spans = sum(row["span_count"] for row in rows)
    # One trace may pass when the bucket is full and leave it in debt.
    most = BURST_SPANS + SPANS_PER_SECOND * (ledger["seconds"] + WAIT_S)
    assert spans <= most, f"{spans} spans of the flood were kept, at most {most:.0f} were allowed"
    assert len(ledger["scraped"]) > 0
    return len(rows), spans


def check_logs(folder, users):
    traces = {}
    for path in pathlib.Path(folder).glob("*.log"):
        for line in path.read_text().splitlines():
            if line.startswith("{"):
                trace = json.loads(line).get("logging.googleapis.com/trace", "")
                traces.setdefault(trace.rsplit("/", 1)[-1], set()).add(path.stem)
    for request in users:
        if request["status"] == 504:
            services = traces.get(request["trace"], set())
            assert {"gateway", "processor"} <= services, f"the logs of {request['trace']} are of {services} alone"


def check_tokens(folder):
    """Both callers asked for a token for the service that they call, and for no other."""
    tokens = set((pathlib.Path(folder) / "metadata.log").read_text().splitlines())
    assert tokens == {f"a token for {os.environ[name]}" for name in ("PROCESSOR_URL", "STORAGE_URL")}, f"the ID tokens were: {tokens}"


def main(page, ledger_path, logs):
    ledger = json.loads(pathlib.Path(ledger_path).read_text())
    whole = check_users(page, ledger["users"])
    traces, spans = check_flood(page, ledger)
    check_logs(logs, ledger["users"])
    check_tokens(logs)
    example = next(request for request in ledger["users"] if request["status"] == 504)
    print(f"{whole} failed and slow requests, each with all its spans from {len(SERVICES)} services")
    print(f"{traces} other traces with {spans} spans of {len(ledger['scraped'])} requests of the scraper")
    print(f"a 504: {page}/traces/{example['trace']}")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except AssertionError as error:
        sys.exit(f"check: {error}")
