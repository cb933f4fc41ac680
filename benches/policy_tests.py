#!/usr/bin/env python3
"""Measures `spansieve test` on 1,000 tests of the policies of config.yaml.

    benches/policy_tests.py                           # builds the release binary; a few seconds beside that
    benches/policy_tests.py --binary PATH --runs 1    # another program

Each test has a trace of its own: three spans with attributes, errors, slow spans, or late spans that come after the decision.
"""
import argparse
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import measure

TESTS = 1_000
# Traces that are kept, dropped, and rescued, with what is expected of them.
TRACES = [
    (["api  GET /cart/{n}  120ms  server http.response.status_code=504", "  db  SELECT cart  80ms  client db.system=postgresql",
      "  cache  GET  2ms  client"], "{verdict: kept, policy: errors}"),
    (["api  GET /items/{n}  2.5s  server http.route=/items", "  db  SELECT items  2s  client", "    disk  read  1s"],
     "{verdict: kept, policy: slow}"),
    (["api  GET /cart/{n}  20ms  server", "  db  SELECT cart  8ms  client", "  +14s worker  charge {n}  5ms  error"],
     "{verdict: kept, trigger: rescue, spans: 3}"),
    (["web  POST /orders/{n}  40ms  server user.id={n}", "  checkout  POST /orders  30ms  server", "    payments  charge  20ms  client"],
     "{verdict: dropped}"),
]


def tests():
    """Returns a file with the tests."""
    lines = ["tests:"]
    for number in range(TESTS):
        spans, expected = TRACES[number % len(TRACES)]
        # No ratio keeps a trace with such an id.
        lines += [f"  - name: test {number}", f'    trace_id: "{number + 1:016x}{1:016x}"', "    trace: |"]
        lines += [f"      {span.format(n=number)}" for span in spans]
        lines.append(f"    expect: {expected}")
    return "\n".join(lines) + "\n"


def run(binary, directory):
    """Runs the tests. Returns the seconds and the CPU seconds that this took."""
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command = [binary, "test", "--config", "config.yaml", "--format", "json", "tests.yaml"]
    result = subprocess.run(command, cwd=directory, stdout=subprocess.PIPE, text=True)
    seconds, after = time.monotonic() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    report = json.loads(result.stdout)
    if report["passed"] != TESTS:
        failed = [test for test in report["tests"] if not test["passed"]]
        sys.exit(f"{len(failed)} tests fail, such as {failed[0]['name']}: {failed[0]['failures']}")
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=Path, help="measure this program instead of building the release binary")
    parser.add_argument("--runs", type=int, default=5, help="runs (default: %(default)s)")
    options = parser.parse_args()
    options.debug = False
    binary = measure.build_daemon(options)
    with tempfile.TemporaryDirectory() as directory:
        shutil.copy(measure.ROOT / "config.yaml", directory)
        Path(directory, "tests.yaml").write_text(tests())
        runs = [run(binary, directory) for _ in range(options.runs)]
    for name, values in zip(["s", "s of CPU"], zip(*runs)):
        middle, least, most = statistics.median(values), min(values), max(values)
        print(f"{TESTS:,} tests: {middle:.3f} [{least:.3f} - {most:.3f}] {name}")


if __name__ == "__main__":
    main()
