#!/usr/bin/env python3
"""Writes the alerts and dashboards of deploy/monitoring/ from docs/runbook.md and the panels below.

    tools/monitoring.py                     write the files
    tools/monitoring.py --check [PROMTOOL]  compare the files, check every metric and label, run promtool's tests

An alert is a section of the runbook with a block of PromQL; its heading is the name of the alert. "The alert fires if this
holds for N minutes" in the text below the block is its duration.
"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
HERE = ROOT / "deploy" / "monitoring"
RUNBOOK = ROOT / "docs" / "runbook.md"
METRICS = ROOT / "docs" / "metrics.md"
SPAN_METRICS = ROOT / "docs" / "span-metrics.md"

# Alerts that should wake someone: spans are being lost, or will be soon. The others can wait for the morning.
PAGES = {
    "Kept spans are being lost",
    "A permission is missing",
    "Cloud Trace does not answer",
    "The spool fills",
    "The journal fills",
    "The journal's disk fails",
    "Senders are turned away",
    "Senders are asked to retry",
    "Nothing comes in",
    "The daemon is not scraped",
}

# Rows of the dashboards: title, then panels as (title, unit, [(legend, query)]). Units are Grafana's.
DASHBOARD = [
    (
        "Spans",
        [
            ("Spans received", "cps", [("{{protocol}}", "sum by (protocol) (rate(spansieve_received_spans_total[$__rate_interval]))")]),
            (
                "Spans exported, sampled out, lost",
                "cps",
                [
                    ("exported", "sum(rate(spansieve_exported_spans_total[$__rate_interval]))"),
                    ("sampled out", "sum(rate(spansieve_sampled_out_spans_total[$__rate_interval]))"),
                    ("lost: {{reason}}", "sum by (reason) (rate(spansieve_dropped_spans_total[$__rate_interval]))"),
                ],
            ),
            (
                "Share of the spans that is kept",
                "percentunit",
                [("kept", "sum(rate(spansieve_exported_spans_total[$__rate_interval])) / sum(rate(spansieve_received_spans_total[$__rate_interval]))")],
            ),
            ("Spans by service", "cps", [("{{service}}", "topk(15, sum by (service) (rate(spansieve_service_spans_total[$__rate_interval])))")]),
        ],
    ),
    (
        "Decisions",
        [
            ("Kept spans by policy", "cps", [("{{policy}}", 'sum by (policy) (rate(spansieve_decided_spans_total{verdict="kept"}[$__rate_interval]))')]),
            ("Dollars a month by policy", "currencyUSD", [("{{policy}}", "sum by (policy) (spansieve_policy_month_dollars)")]),
            ("Kept traces by policy", "cps", [("{{policy}}", 'sum by (policy) (rate(spansieve_decided_traces_total{verdict="kept"}[$__rate_interval]))')]),
            ("Decisions by trigger", "cps", [("{{trigger}}", "sum by (trigger) (rate(spansieve_decided_traces_total[$__rate_interval]))")]),
            ("Late spans by verdict", "cps", [("{{verdict}}", "sum by (verdict) (rate(spansieve_late_spans_total[$__rate_interval]))")]),
            (
                "Time from due to decided (99th percentile)",
                "s",
                [("p99", "histogram_quantile(0.99, sum by (le) (rate(spansieve_decision_lag_seconds_bucket[$__rate_interval])))")],
            ),
        ],
    ),
    (
        "All spans, kept or not (span_metrics)",
        [
            ("Calls by operation", "reqps", [("{{service_name}}: {{span_name}}", "topk(15, sum by (service_name, span_name) (rate(traces_span_metrics_calls_total[$__rate_interval])))")]),
            (
                "Share of the calls that fail",
                "percentunit",
                [
                    (
                        "{{service_name}}",
                        'topk(15, sum by (service_name) (rate(traces_span_metrics_calls_total{status_code="STATUS_CODE_ERROR"}[$__rate_interval])) / sum by (service_name) (rate(traces_span_metrics_calls_total[$__rate_interval])))',
                    )
                ],
            ),
            (
                "Duration (99th percentile)",
                "s",
                [
                    (
                        "{{service_name}}",
                        "topk(15, histogram_quantile(0.99, sum by (service_name, le) (rate(traces_span_metrics_duration_seconds_bucket[$__rate_interval]))))",
                    )
                ],
            ),
            ("Calls between services", "reqps", [("{{client}} to {{server}}", "topk(15, sum by (client, server) (rate(traces_service_graph_request_total[$__rate_interval])))")]),
        ],
    ),
    (
        "Are the counts right?",
        [
            (
                "Adjusted calls for each call",
                "percentunit",
                [
                    (
                        "adjusted",
                        "sum(increase(spansieve_adjusted_calls_total[6h])) / (sum(increase(spansieve_calls_total[6h])) - sum(increase(spansieve_unrepresented_calls_total[6h])))",
                    )
                ],
            ),
            ("Combinations of labels", "short", [("present", "sum(spansieve_span_metrics_series)"), ("with normalized names", "sum(spansieve_span_metrics_normalized_series)")]),
            (
                "Share of the calls without a series",
                "percentunit",
                [("overflow", "sum(rate(spansieve_span_metrics_overflow_calls_total[$__rate_interval])) / sum(rate(spansieve_calls_total[$__rate_interval]))")],
            ),
        ],
    ),
    (
        "What the services lose",
        [
            (
                "Late spans by service",
                "percentunit",
                [
                    (
                        "{{service}}",
                        "topk(15, sum by (service) (rate(spansieve_service_late_spans_total[$__rate_interval])) / sum by (service) (rate(spansieve_service_spans_total[$__rate_interval])))",
                    )
                ],
            ),
            ("Traces with a missing parent", "cps", [("{{service}} ({{parent}})", "topk(15, sum by (service, parent) (rate(spansieve_incomplete_traces_total[$__rate_interval])))")]),
            ("Suggested decision_wait", "s", [("{{share}} of the spans", "max by (share) (spansieve_suggested_decision_wait_seconds)")]),
        ],
    ),
    (
        "What the services cost",
        [
            ("Dollars a month by service", "currencyUSD", [("{{service}}", "topk(15, sum by (service) (spansieve_service_month_dollars))")]),
            ("Kept bytes by service", "Bps", [("{{service}}", 'topk(15, sum by (service) (rate(spansieve_service_decided_bytes_total{verdict="kept"}[$__rate_interval])))')]),
            (
                "Share of the spans that is kept, by service",
                "percentunit",
                [
                    (
                        "{{service}}",
                        'topk(15, sum by (service) (rate(spansieve_service_decided_spans_total{verdict="kept"}[$__rate_interval])) / sum by (service) (rate(spansieve_service_decided_spans_total[$__rate_interval])))',
                    )
                ],
            ),
        ],
    ),
    (
        "Memory and disk",
        [
            (
                "Memory budget in use",
                "bytes",
                [("in use", "sum(spansieve_held_bytes)"), ("limit", "sum(spansieve_memory_limit_bytes)")],
            ),
            ("Resident memory", "bytes", [("resident", "sum(process_resident_memory_bytes)")]),
            ("Processor", "short", [("cores", "sum(rate(process_cpu_seconds_total[$__rate_interval]))")]),
            ("Spans held", "short", [("{{state}}", "sum by (state) (spansieve_held_spans)")]),
            (
                "Spool and journal",
                "bytes",
                [
                    ("spool", "sum(spansieve_spool_bytes)"),
                    ("spool's limit", "sum(spansieve_spool_limit_bytes)"),
                    ("journal", "sum(spansieve_journal_bytes)"),
                    ("journal's limit", "sum(spansieve_journal_limit_bytes)"),
                ],
            ),
        ],
    ),
    (
        "Senders and the sink",
        [
            ("Requests by outcome", "reqps", [("{{outcome}}", "sum by (outcome) (rate(spansieve_requests_total[$__rate_interval]))")]),
            (
                "Time of an answer (99th percentile)",
                "s",
                [("{{protocol}}", "histogram_quantile(0.99, sum by (le, protocol) (rate(spansieve_request_duration_seconds_bucket[$__rate_interval])))")],
            ),
            ("Calls to the sink by code", "reqps", [("{{code}}", "sum by (code) (rate(spansieve_sink_batches_total[$__rate_interval]))")]),
            ("Spans that wait for the sink", "short", [("{{cause}}", "sum by (cause) (spansieve_waiting_spans)")]),
        ],
    ),
]


def anchor(heading):
    """Returns the anchor that GitHub gives a heading."""
    return re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")


def alerts():
    """Returns the alerts of the runbook as (group, heading, expression, minutes)."""
    found, group, heading = [], None, None
    blocks = re.split(r"^(##+ .*)$", RUNBOOK.read_text(), flags=re.M)
    for title, text in zip(blocks[1::2], blocks[2::2]):
        if title.startswith("## "):
            group, heading = title[3:], None
            continue
        heading = title[4:]
        query = re.search(r"```promql\n(.*?)\n```", text, flags=re.S)
        if query is None:
            continue
        minutes = re.search(r"fires if this\s+holds for (\d+) minutes", text)
        found.append((group, heading, query[1], int(minutes[1]) if minutes else 0))
    missing = PAGES - {heading for _, heading, _, _ in found}
    if missing or len(found) < 20:
        sys.exit(f"{RUNBOOK}: {len(found)} alerts found; not found: {sorted(missing)}")
    return found


def name(heading):
    """Returns the heading as the name of an alert."""
    return "Spansieve" + "".join(word[0].upper() + word[1:] for word in re.findall(r"[A-Za-z]+", heading.replace("'s", "s")))


def quoted(text):
    return json.dumps(text, ensure_ascii=False)


def rules(found):
    """Returns the alerting rules of Prometheus."""
    lines = [
        "# Alerting rules for Prometheus and Managed Service for Prometheus. Written by tools/monitoring.py from docs/runbook.md.",
        "# severity: page (spans are being lost, or will be soon) or ticket.",
        "groups:",
    ]
    group = None
    for section, heading, query, minutes in found:
        if section != group:
            group = section
            lines += [f"  - name: {quoted('Spansieve: ' + group)}", "    rules:"]
        lines += [
            f"      - alert: {name(heading)}",
            f"        expr: {quoted(query)}",
            *([f"        for: {minutes}m"] if minutes else []),
            f"        labels: {{severity: {severity(heading)}}}",
            "        annotations:",
            f"          summary: {quoted(heading)}",
            f"          runbook: docs/runbook.md#{anchor(heading)}",
        ]
    return "\n".join(lines) + "\n"


def severity(heading):
    return "page" if heading in PAGES else "ticket"


def policy(heading, query, minutes):
    """Returns an alert as an alert policy of Cloud Monitoring, for `gcloud alpha monitoring policies create`."""
    condition = {
        "query": query,
        "duration": f"{minutes * 60}s",
        "evaluationInterval": "60s",
        "ruleGroup": "spansieve",
        "alertRule": name(heading),
    }
    return {
        "displayName": f"Spansieve: {heading}",
        "combiner": "OR",
        "severity": "CRITICAL" if severity(heading) == "page" else "WARNING",
        "conditions": [{"displayName": heading, "conditionPrometheusQueryLanguage": condition}],
        "documentation": {"mimeType": "text/markdown", "content": f"What to do: docs/runbook.md#{anchor(heading)}"},
    }


def terraform(found):
    """Returns the alerts and the dashboard as Terraform of Cloud Monitoring."""
    entries = []
    for _, heading, query, minutes in found:
        entries.append(
            f"    {name(heading)} = {{\n"
            f"      summary  = {quoted(heading)}\n"
            f"      query    = {quoted(query)}\n"
            f"      minutes  = {minutes}\n"
            f"      severity = {quoted('CRITICAL' if severity(heading) == 'page' else 'WARNING')}\n"
            f"      runbook  = {quoted('docs/runbook.md#' + anchor(heading))}\n"
            "    }\n"
        )
    return TERRAFORM_HEAD + "  alerts = {\n" + "".join(entries) + "  }\n}\n" + TERRAFORM_TAIL


TERRAFORM_HEAD = """\
# Alert policies and a dashboard of Cloud Monitoring. Written by tools/monitoring.py from docs/runbook.md.
#   terraform init && terraform apply -var project=PROJECT -var 'channels=["projects/PROJECT/notificationChannels/NUMBER"]'

terraform {
  required_version = ">= 1.5"
  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 6.33, < 9.0"
    }
  }
}

variable "project" {
  description = "The project with the metrics of Spansieve."
  type        = string
}

variable "channels" {
  description = "The notification channels of the alerts, by their full names."
  type        = list(string)
  default     = []
}

variable "runbook_url" {
  description = "What stands before docs/runbook.md in the links of the alerts."
  type        = string
  default     = ""
}

locals {
"""

TERRAFORM_TAIL = """\

resource "google_monitoring_alert_policy" "spansieve" {
  for_each              = local.alerts
  project               = var.project
  display_name          = "Spansieve: ${each.value.summary}"
  combiner              = "OR"
  severity              = each.value.severity
  notification_channels = var.channels

  conditions {
    display_name = each.value.summary
    condition_prometheus_query_language {
      query               = each.value.query
      duration            = "${each.value.minutes * 60}s"
      evaluation_interval = "60s"
      rule_group          = "spansieve"
      alert_rule          = each.key
    }
  }

  documentation {
    mime_type = "text/markdown"
    content   = "What to do: ${var.runbook_url}${each.value.runbook}"
  }
}

resource "google_monitoring_dashboard" "spansieve" {
  project        = var.project
  dashboard_json = file("${path.module}/../dashboard.cloud-monitoring.json")
}
"""


def grafana():
    """Returns Grafana's dashboard."""
    panels, number, y = [], 0, 0
    for row, contents in DASHBOARD:
        panels.append({"type": "row", "id": (number := number + 1), "title": row, "collapsed": False, "panels": [], "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}})
        y += 1
        width = 24 // len(contents)
        for place, (title, unit, queries) in enumerate(contents):
            panels.append(
                {
                    "type": "timeseries",
                    "id": (number := number + 1),
                    "title": title,
                    "datasource": {"type": "prometheus", "uid": "${datasource}"},
                    "gridPos": {"x": place * width, "y": y, "w": width, "h": 8},
                    "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
                    "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}},
                    "targets": [
                        {"refId": chr(ord("A") + index), "expr": query, "legendFormat": legend} for index, (legend, query) in enumerate(queries)
                    ],
                }
            )
        y += 8
    return {
        "uid": "spansieve",
        "title": "Spansieve",
        "tags": ["tracing", "sampling"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "1m",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [{"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}]},
        "panels": panels,
    }


def cloud_monitoring():
    """Returns the dashboard of Cloud Monitoring, on a grid of 48 columns."""
    tiles, y = [], 0
    for _, contents in DASHBOARD:
        width = 48 // len(contents)
        for place, (title, _, queries) in enumerate(contents):
            sets = [
                {
                    "plotType": "LINE",
                    "legendTemplate": re.sub(r"\{\{(\w+)\}\}", r"${metric.labels.\1}", legend),
                    "timeSeriesQuery": {"prometheusQuery": query.replace("$__rate_interval", "${__interval}")},
                }
                for legend, query in queries
            ]
            tiles.append({"xPos": place * width, "yPos": y, "width": width, "height": 16, "widget": {"title": title, "xyChart": {"dataSets": sets}}})
        y += 16
    return {"displayName": "Spansieve", "mosaicLayout": {"columns": 48, "tiles": tiles}}


def files():
    """Returns the contents of each file by its path."""
    found = alerts()
    pretty = lambda value: json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    return {
        HERE / "alerts.yaml": rules(found),
        HERE / "dashboard.grafana.json": pretty(grafana()),
        HERE / "dashboard.cloud-monitoring.json": pretty(cloud_monitoring()),
        HERE / "terraform" / "main.tf": terraform(found),
    } | {
        HERE / "policies" / f"{anchor(heading)}.json": pretty(policy(heading, query, minutes)) for _, heading, query, minutes in found
    }


def documented():
    """Returns the labels of each metric that the documents have in their tables; tests hold that to what is served."""
    labels = {}
    for line in METRICS.read_text().splitlines():
        if line.startswith(("| `spansieve_", "| `process_")):
            _, metric, kind, label_cell, *_ = (cell.strip() for cell in line.split("|"))
            keys = set(re.findall(r"(?:^|; )`(\w+)`", label_cell))
            labels[metric.strip("`")] = keys | ({"le"} if kind == "histogram" else set())
    for line in SPAN_METRICS.read_text().splitlines():
        if line.startswith("| `traces_"):
            _, metric, kind, label_cell, *_ = (cell.strip() for cell in line.split("|"))
            # "the same" stands for the labels of the row before.
            keys = set(re.findall(r"`(\w+)`", label_cell)) - {"dimensions"} or keys
            labels[metric.strip("`")] = keys | ({"le"} if kind == "histogram" else set())
    return labels


def unknown(query, labels):
    """Yields the metrics and labels of `query` that are not served."""
    bare = re.sub(r'"[^"]*"', '""', query)
    names = re.findall(r"(?:spansieve|traces|process)_\w+", bare)
    served = set()
    for metric in names:
        base = re.sub(r"_(bucket|sum|count)$", "", metric)
        if metric not in labels and base not in labels:
            yield metric
        served |= labels.get(metric, labels.get(base, set()))
    grouped = [label for group in re.findall(r"\b(?:by|on|without|group_left) \(([^)]*)\)", bare) for label in re.findall(r"\w+", group)]
    for label in grouped + re.findall(r"[{,]\s*(\w+)\s*(?:=|!=|=~|!~)\s*\"", bare):
        if label not in served:
            yield label


def check(promtool):
    problems = []
    for path, text in files().items():
        if not path.exists() or path.read_text() != text:
            problems.append(f"{path.relative_to(ROOT)} is not what tools/monitoring.py writes: run it")
    labels = documented()
    panels = [(title, query) for _, contents in DASHBOARD for title, _, queries in contents for _, query in queries]
    for title, query in panels + [(heading, query) for _, heading, query, _ in alerts()]:
        problems += [f"{title}: {what} is not served: {query}" for what in unknown(query, labels)]
    if not problems:
        tests = HERE / "alerts.test.yaml"
        for heading in (heading for _, heading, _, _ in alerts()):
            if f"alertname: {name(heading)}\n" not in tests.read_text():
                problems.append(f"{tests.relative_to(ROOT)} has no test of {name(heading)}")
        queries = HERE / "alerts.yaml"
        for command in ([promtool, "check", "rules", str(queries)], [promtool, "test", "rules", str(tests)]):
            run = subprocess.run(command, capture_output=True, text=True)
            if run.returncode != 0:
                problems.append(run.stdout + run.stderr)
        checked = {"groups": [{"name": "panels", "rules": [{"record": f"p{i}", "expr": query.replace("$__rate_interval", "5m")} for i, (_, query) in enumerate(panels)]}]}
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(checked, file)
            file.flush()
            run = subprocess.run([promtool, "check", "rules", file.name], capture_output=True, text=True)
        if run.returncode != 0:
            problems.append(run.stdout + run.stderr)
    if problems:
        sys.exit("\n".join(problems))
    print(f"{len(alerts())} alerts and {len(panels)} queries of panels are in order")


def main():
    arguments = sys.argv[1:]
    if arguments[:1] == ["--check"]:
        check(arguments[1] if len(arguments) > 1 else "promtool")
    elif not arguments:
        for path, text in files().items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    else:
        sys.exit(__doc__)


main()
