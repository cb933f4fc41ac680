#!/usr/bin/env python3
"""Runs the SQL of docs/queries.md, translated for DuckDB, on sampled requests, and compares it with the requests made.

    pip install -r tools/check-sql.requirements.txt
    tools/check-sql.py

Exit code 1 names each query that does not run, or whose result is further from the truth than chance allows.
"""

import json
import math
import pathlib
import random
import re
import sys
from collections import Counter, defaultdict

import duckdb
import sqlglot

ROOT = pathlib.Path(__file__).resolve().parent.parent
REQUESTS = 200_000
RATIO = 0.05
SLOW_MS = 1_000
ROUTES = {"/cart": ("shop", 40, 0.01), "/search": ("shop", 120, 0.002), "/pay/{id}": ("payments", 300, 0.03)}
MINUTES = 10
SEED = 20_261_130


def queries():
    """Returns the SQL of the document by its names."""
    text = (ROOT / "docs" / "queries.md").read_text()
    found = dict(re.findall(r"<!-- query: (\w+) -->\n```sql\n(.*?)```", text, flags=re.S))
    if text.count("```sql") != len(found):
        sys.exit("docs/queries.md: a block of SQL has no name")
    return found


def requests(rng):
    """Yields requests as (route, service, ms, database ms, failed, minute)."""
    for _ in range(REQUESTS):
        route = rng.choices(list(ROUTES), weights=[6, 3, 1])[0]
        service, median_ms, error_rate = ROUTES[route]
        ms = rng.lognormvariate(math.log(median_ms), 0.6)
        yield route, service, ms, ms * rng.uniform(0.2, 0.6), rng.random() < error_rate, rng.randrange(MINUTES)


def verdict(rng, ms, failed):
    """Returns the policy that keeps a request and its adjusted count, or None: what `errors`, `slow` and a ratio do."""
    if failed:
        return "errors", 1
    if ms >= SLOW_MS:
        return "slow", 1
    return ("baseline", round(1 / RATIO)) if rng.random() < RATIO else None


def rows(number, request, kept):
    """Yields the two spans of a kept request as rows of `_AllSpans`."""
    route, service, ms, database_ms, failed, minute = request
    policy, count = kept
    mark = {"spansieve.policy": policy, "spansieve.adjusted_count": count}
    trace, start = f"{number:032x}", f"2026-11-30 10:{minute:02}:{number % 60:02}"
    resource = {"attributes": {"service.name": service}}
    status = {"code": 2 if failed else 0}
    server = {"http.route": route, **mark}
    yield trace, f"{2 * number:016x}", None, f"GET {route}", 2, start, int(ms * 1e6), status, server, resource
    client = {"db.system.name": "postgresql", **mark}
    yield trace, f"{2 * number + 1:016x}", f"{2 * number:016x}", "SELECT", 3, start, int(database_ms * 1e6), {"code": 0}, client, resource


def population():
    """Returns all requests, the kept ones with their verdict, and a database with the spans of the kept ones."""
    rng = random.Random(SEED)
    made = list(requests(rng))
    kept = [(number, request, mark) for number, request in enumerate(made) if (mark := verdict(rng, request[2], request[4]))]
    database = duckdb.connect()
    database.execute(
        "CREATE TABLE spans (trace_id VARCHAR, span_id VARCHAR, parent_span_id VARCHAR, name VARCHAR, kind BIGINT, start_time TIMESTAMP,"
        " duration_nano BIGINT, status STRUCT(code BIGINT), attributes JSON, resource STRUCT(attributes JSON))"
    )
    values = [row for number, request, mark in kept for row in rows(number, request, mark)]
    lines = [json.dumps(dict(zip(COLUMNS, row))) for row in values]
    path = ROOT / "target" / "check-sql.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(lines))
    database.execute(f"INSERT INTO spans SELECT * FROM read_json('{path}', columns = {json.dumps(TYPES)})")
    path.unlink()
    return made, kept, database


COLUMNS = ["trace_id", "span_id", "parent_span_id", "name", "kind", "start_time", "duration_nano", "status", "attributes", "resource"]
TYPES = dict(
    zip(COLUMNS, ["VARCHAR", "VARCHAR", "VARCHAR", "VARCHAR", "BIGINT", "TIMESTAMP", "BIGINT", "STRUCT(code BIGINT)", "JSON", "STRUCT(attributes JSON)"])
)


def run(database, sql):
    """Returns the result of a query of BigQuery."""
    tree = sqlglot.parse_one(sql, read="bigquery")
    for table in tree.find_all(sqlglot.exp.Table):
        if "_AllSpans" in table.sql(dialect="bigquery"):
            table.replace(sqlglot.exp.to_table("spans", alias=table.alias or None))
    return database.execute(tree.sql(dialect="duckdb")).fetchall()


class Check:
    """Collects what is further from the truth than chance allows."""

    def __init__(self):
        self.problems, self.count = [], 0

    def near(self, what, found, true, error):
        """Compares with five standard errors: with the fixed seed, a right query always passes."""
        self.count += 1
        if not abs(found - true) <= 5 * error:
            self.problems.append(f"{what}: {found}, true is {true} (standard error {error:.3g})")

    def same(self, what, found, true):
        self.count += 1
        if found != true:
            self.problems.append(f"{what}: {found}, true is {true}")


def sum_error(requests_made):
    """Returns the standard error of the sum of adjusted counts of so many ordinary requests."""
    return math.sqrt(requests_made * (1 - RATIO) / RATIO)


def check_error_rate(check, result, made, _kept):
    true, errors = Counter(r[0] for r in made), Counter(r[0] for r in made if r[4])
    check.same("routes", {row[1] for row in result}, set(ROUTES))
    for service, route, count, failed, rate in result:
        check.same(f"service of {route}", service, ROUTES[route][0])
        check.near(f"requests of {route}", count, true[route], sum_error(true[route]))
        check.same(f"errors of {route}", failed, errors[route])
        check.near(f"error rate of {route}", rate, errors[route] / true[route], errors[route] * sum_error(true[route]) / true[route] ** 2)


def check_percentiles(check, result, made, _kept):
    times = defaultdict(list)
    for route, _, ms, *_ in made:
        times[route].append(ms)
    for route, *found in result:
        ordered = sorted(times[route])
        for share, ms in zip((0.50, 0.95, 0.99), found):
            # The rank of what was found, as a share of all.
            rank = sum(time <= ms for time in ordered) / len(ordered)
            error = math.sqrt(share * (1 - share)) * sum_error(len(ordered)) / len(ordered)
            check.near(f"percentile {share} of {route}", rank, share, error)
    check.same("routes", {row[0] for row in result}, set(ROUTES))


def check_rate(check, result, made, _kept):
    true = Counter((r[5], r[1]) for r in made)
    check.same("minutes", len(result), len(true))
    for minute, service, rate in result:
        count = true[(minute.minute, service)]
        check.near(f"rate of {service} in minute {minute.minute}", rate, count / 60, sum_error(count) / 60)


def check_policies(check, result, made, kept):
    true = Counter(mark[0] for _, _, mark in kept)
    check.same("policies", {row[0] for row in result}, set(true))
    for policy, traces, spans, stands_for, dollars in result:
        check.same(f"traces of {policy}", (traces, spans), (true[policy], 2 * true[policy]))
        check.same(f"spans that {policy} stands for", stands_for, 2 * true[policy] * (round(1 / RATIO) if policy == "baseline" else 1))
        check.near(f"dollars of {policy}", dollars, 2 * true[policy] * 2e-7, 1e-12)


def check_callees(check, result, _made, _kept):
    check.same("rows", [(row[0], row[1]) for row in result], [(route, "SELECT") for route in sorted(ROUTES)])
    for route, _, share in result:
        check.near(f"share of {route}", share, 1, 1e-9)


def main():
    made, kept, database = population()
    check, found = Check(), queries()
    checks = {name.removeprefix("check_"): function for name, function in globals().items() if name.startswith("check_")}
    if set(checks) != set(found):
        sys.exit(f"docs/queries.md has {sorted(found)}; checked are {sorted(checks)}")
    for name, sql in found.items():
        try:
            checks[name](check, run(database, sql), made, kept)
        except (sqlglot.errors.SqlglotError, duckdb.Error) as error:
            check.problems.append(f"{name} does not run: {error}")
    if check.problems:
        sys.exit("\n".join(check.problems))
    print(f"{len(found)} SQL queries agree with {len(made)} requests in {check.count} comparisons")


main()
