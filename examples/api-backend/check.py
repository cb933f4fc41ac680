"""Compares what Spansieve kept with what the users saw.

    check.py PAGE_URL LEDGER.json LOGS_FOLDER

Exit code 1 names what is missing.
"""

import json
import pathlib
import sys
import time
import urllib.error
import urllib.request

WAIT_S = 60  # decision_wait, the SDKs' delay and a busy machine
# By the first part of the path and of the item: the status that the user gets, and the services in the trace.
EXPECTED = {
    ("prices", "broken"): (502, {"api", "backend"}),
    ("offers", "broken"): (200, {"api", "backend"}),
    ("prices", "slow"): (200, {"api", "backend"}),
    ("misdirected", "lamp"): (502, {"api"}),
}


def read(url):
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return {"error": error.read().decode()}


def faults_of(trace, kind):
    """Yields what is wrong with the stored trace of a request that must be kept."""
    if "spans" not in trace:
        yield trace.get("error", "not stored")
        return
    services = EXPECTED[kind][1]
    if set(trace["services"]) != services:
        yield f"its services are {trace['services']}, not {sorted(services)}"
    # The users' own spans are not stored: the parent of one span is not stored.
    orphans = [span for span in trace["spans"] if not span["parent_stored"]]
    if len(orphans) > 1:
        yield f"{len(orphans)} spans without their parent: the trace has holes"
    unlabelled = [span["name"] for span in trace["spans"] if span["attributes"].get("service.namespace") != "shop"]
    if unlabelled:
        yield f"without service.namespace: {unlabelled}"
    if "broken" in kind:
        silent = {span["service"] for span in trace["spans"] if not span["error"]} & {"backend"}
        if silent:
            yield "the span of the backend does not say that it failed"


def check(page, ledger):
    wanted = []
    for request in ledger:
        area, _, item = request["path"].partition("/")
        kind = (area, item.split("-")[0])
        if kind in EXPECTED:
            assert request["status"] == EXPECTED[kind][0], f"{request['path']} was answered with {request['status']}"
            wanted.append((kind, request))
    assert {kind for kind, _ in wanted} == set(EXPECTED), "the traffic is not what it should be"
    deadline = time.monotonic() + WAIT_S
    while True:
        faults = [
            f"{request['path']} ({request['status']}, {request['ms']:.0f} ms) {request['trace']}: {fault}"
            for kind, request in wanted
            for fault in faults_of(read(f"{page}/api/traces/{request['trace']}"), kind)
        ]
        if not faults:
            return wanted
        assert time.monotonic() < deadline, "\n".join(faults)
        time.sleep(1)


def check_logs(folder, wanted):
    """Each line of the log about a failure has the id of its trace."""
    logged = {service: set() for service in ("api", "backend")}
    for service, traces in logged.items():
        for line in pathlib.Path(folder, f"{service}.log").read_text().splitlines():
            if line.startswith("{"):
                traces.add(json.loads(line).get("logging.googleapis.com/trace", "").rsplit("/", 1)[-1])
    for kind, request in wanted:
        for service in EXPECTED[kind][1] if "broken" in kind else ():
            assert request["trace"] in logged[service], f"the log of {service} has no line of {request['trace']}"


def main(page, ledger_path, logs):
    ledger = json.loads(pathlib.Path(ledger_path).read_text())
    wanted = check(page, ledger)
    check_logs(logs, wanted)
    hidden = next(request for kind, request in wanted if kind == ("offers", "broken"))
    print(f"{len(wanted)} of {len(ledger)} requests failed or were slow; each trace is there, whole, with one label for both services")
    print(f"a failure that the user did not see: {page}/traces/{hidden['trace']}")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except AssertionError as error:
        sys.exit(f"check: {error}")
