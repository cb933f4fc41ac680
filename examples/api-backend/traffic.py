"""Plays the users, and notes in a ledger what each user got.

    traffic.py API_URL LEDGER.json

A request begins its trace as a load balancer of Google does, with headers that say "not sampled".
"""

import json
import secrets
import sys
import threading
import time

import requests

SECONDS = 5
# Requests of a second: a failure that the user sees, one that the user does not see, a slow one, a wrong host, and healthy ones.
EACH_SECOND = ["prices/broken", "offers/broken", "prices/slow", "misdirected/lamp"] + ["prices/lamp"] * 10


def get(api, path, ledger):
    trace, span = secrets.token_hex(16), secrets.token_hex(8)
    headers = {
        "traceparent": f"00-{trace}-{span}-00",
        "X-Cloud-Trace-Context": f"{trace}/{int(span, 16)};o=0",
        "X-Request-Id": secrets.token_hex(4),
    }
    started = time.monotonic()
    status = requests.get(f"{api}/{path}", headers=headers, timeout=30).status_code
    ledger.append({"path": path, "trace": trace, "status": status, "ms": (time.monotonic() - started) * 1000})


def main(api, path):
    ledger, threads = [], []
    for second in range(SECONDS):
        for index, kind in enumerate(EACH_SECOND):
            threads.append(threading.Thread(target=get, args=(api, f"{kind}-{second}-{index}", ledger)))
            threads[-1].start()
        time.sleep(1)
    for thread in threads:
        thread.join()
    with open(path, "w") as file:
        json.dump(ledger, file)
    print(f"{len(ledger)} requests of users in {SECONDS} s")


main(*sys.argv[1:])
