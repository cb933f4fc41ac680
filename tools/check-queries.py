#!/usr/bin/env python3
"""Parses every PromQL expression of the documents with promtool (Debian's package `prometheus`).

    tools/check-queries.py [PROMTOOL]

An expression is a code span, or a line of a fenced block marked `promql`, that calls a function or an aggregation of PromQL
on a metric of Spansieve, or on one of the metrics of spans. Exit code 1 names each file, line and expression that does not parse.
"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
# A bare metric name is not a query, nor is `metric{label}`, which is how the documents write labels.
CALL = re.compile(r"\b(sum|rate|increase|max|min|avg|count|topk|histogram_quantile|absent|changes)\b\s*(by\b|\()| [<>=]=? [\d(]")
MINIMUM = 20  # The documents have more. If fewer are found, this script no longer recognizes them.


def expressions():
    """Yields (file, line number, expression)."""
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        fence = None
        lines = path.read_text().splitlines()
        for number, line in enumerate(lines, 1):
            if line.startswith("```"):
                fence = None if fence is not None else line[3:].strip()
                continue
            spans = [line] if fence == "promql" else [] if fence is not None else re.findall(r"`([^`]+)`", line)
            for span in spans:
                text = span.replace("\\|", "|").strip() if line.startswith("|") else span.strip()
                if re.search(r"spansieve_|traces_", text) and CALL.search(text):
                    yield path.relative_to(ROOT), number, text


def main():
    promtool = sys.argv[1] if len(sys.argv) > 1 else "promtool"
    found = list(expressions())
    if len(found) < MINIMUM:
        sys.exit(f"only {len(found)} queries found in the documents, at least {MINIMUM} are expected")
    rules = [{"alert": f"query{index}", "expr": text} for index, (_, _, text) in enumerate(found)]
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        # The file is JSON, which is valid YAML and needs no special quoting here.
        json.dump({"groups": [{"name": "documents", "rules": rules}]}, file)
        file.flush()
        check = subprocess.run([promtool, "check", "rules", file.name], capture_output=True, text=True)
    if check.returncode != 0:
        broken = {int(number) for number in re.findall(r'"query(\d+)"', check.stdout + check.stderr)}
        for index in sorted(broken):
            path, number, text = found[index]
            print(f"{path}:{number}: {text}")
        sys.exit(check.stdout + check.stderr)
    print(f"{len(found)} queries parse")


main()
