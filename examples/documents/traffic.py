"""Plays the users and the scraper, and notes in a ledger what each user got.

    traffic.py GATEWAY_URL LEDGER.json

A user's request begins its trace as a load balancer of Google does: with a `traceparent` and an `X-Cloud-Trace-Context` that say
"not sampled". Services that obey them send nothing; `OTEL_TRACES_SAMPLER=always_on` makes them send all.
"""

import json
import secrets
import sys
import threading
import time

import requests

USERS_S = 8
SCRAPERS = 4
# Requests of a second: one 504, one 502, one slow report, and healthy ones.
EACH_SECOND = ["documents/slow", "documents/broken", "reports/slow"] + ["documents/invoice"] * 5


def get(session, url):
    """Returns the trace id, the status and the milliseconds of one request."""
    trace, span = secrets.token_hex(16), secrets.token_hex(8)
    headers = {
        "traceparent": f"00-{trace}-{span}-00",
        "x-cloud-trace-context": f"{trace}/{int(span, 16)};o=0",
    }
    started = time.monotonic()
    status = session.get(url, headers=headers, timeout=30).status_code
    return trace, status, (time.monotonic() - started) * 1000


def play_users(gateway, ledger):
    threads = []

    def one(path):
        trace, status, ms = get(requests.Session(), f"{gateway}/{path}")
        ledger.append({"path": path, "trace": trace, "status": status, "ms": ms})

    for second in range(USERS_S):
        for index, path in enumerate(EACH_SECOND):
            thread = threading.Thread(target=one, args=(f"{path}-{second}-{index}",))
            thread.start()
            threads.append(thread)
        time.sleep(1)
    for thread in threads:
        thread.join()


def scrape(gateway, scraped, stop):
    session = requests.Session()
    while not stop.is_set():
        trace, _, _ = get(session, f"{gateway}/documents/{secrets.token_hex(4)}")
        scraped.append(trace)


def main(gateway, path):
    ledger, scraped, stop = [], [], threading.Event()
    scrapers = [threading.Thread(target=scrape, args=(gateway, scraped, stop)) for _ in range(SCRAPERS)]
    started = time.monotonic()
    for scraper in scrapers:
        scraper.start()
    play_users(gateway, ledger)
    stop.set()
    for scraper in scrapers:
        scraper.join()
    seconds = time.monotonic() - started
    with open(path, "w") as file:
        json.dump({"users": ledger, "scraped": scraped, "seconds": seconds}, file)
    print(f"{len(ledger)} requests of users, {len(scraped)} of the scraper in {seconds:.0f} s")


if __name__ == "__main__":
    main(*sys.argv[1:])
