#!/usr/bin/env python3
"""A real Prometheus scrapes the daemon under load, and its answers are compared with what was sent and what the sink has.

    tools/check-prometheus.py [--prometheus prometheus] [--seconds 20] [--rate 2000] [--draw OUT.svg] SPANSIEVE

The sink is the embedded Cloud Trace. The load is a made-up shop: `web` calls `orders`, which calls a database, with
routes, names that hold ids, and errors. The script keeps a ledger of it, and checks with Prometheus's API that

- the calls by service, name, kind and status are those of the ledger, to the span, and so are the counts and the sums of
  durations;
- every exemplar that Prometheus has stored is a span in the sink;
- the adjusted calls are near the calls, and the conservation law holds;
- the service graph has the edges of the shop, within the error of a sample;
- each query of the Grafana dashboard has a result, and each one of the alerts can be evaluated.

It prints one JSON line. The exit code is 1 if a check fails. With `--draw`, `tools/panels.py` draws the panels of the dashboard
after the load, which rises and falls then.
"""
import argparse, collections, json, math, os, pathlib, random, re, signal, subprocess, sys, tempfile, time, urllib.parse, urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import panels as pictures  # noqa: E402
from harness import attribute, field, varint  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent
OTLP, SINK, PROMETHEUS = 18431, 18432, 18433
SERVER, CLIENT, INTERNAL = 2, 3, 1
KINDS = {SERVER: "SPAN_KIND_SERVER", CLIENT: "SPAN_KIND_CLIENT", INTERNAL: "SPAN_KIND_INTERNAL"}

CONFIG = f"""
otlp: {{listen: ["127.0.0.1:{OTLP}"]}}
tail_sampling:
  decision_wait: 2s
  rescue: {{window: 1s}}
  policies:
    - {{name: errors, type: error}}
    - {{name: baseline, type: probabilistic, probabilistic: {{sampling_percentage: 20}}}}
export: {{endpoint: embedded, embedded: {{listen: "127.0.0.1:{SINK}", max_bytes: 512MiB}}, batch: {{max_delay: 200ms}}}}
memory: {{limit: 512MiB}}
span_metrics: {{spans: all}}
"""

SCRAPE = f"""
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
storage: {{exemplars: {{max_exemplars: 100000}}}}
scrape_configs:
  - job_name: spansieve
    static_configs: [{{targets: ["127.0.0.1:{OTLP}"]}}]
"""

TRACES = 25  # in a request

# A label whose series may differ between Prometheus and the ledger: none of the load's making.
OWN = ("instance", "job", "__name__")


def fixed64(number, value):
    return varint(number << 3 | 1) + value.to_bytes(8, "little")


def span(trace, id, parent, name, kind, start, nanos, failed, attributes=()):
    parts = [field(1, trace), field(2, id), field(4, parent) if parent else b"", field(5, name.encode()), varint(6 << 3) + varint(kind)]
    parts += [fixed64(7, start), fixed64(8, start + nanos)]
    parts += [field(9, attribute(key.encode(), value.encode())) for key, value in attributes]
    parts += [field(15, varint(3 << 3) + varint(2))] if failed else []
    return field(2, b"".join(parts))


def resource_spans(service, spans):
    return field(1, field(1, field(1, attribute(b"service.name", service.encode()))) + field(2, b"".join(spans)))


class Shop:
    """Traces, and the ledger of what was accepted."""

    def __init__(self):
        self.random = random.Random(7)
        self.calls, self.nanos = collections.Counter(), 0
        self.edges = collections.Counter()

    def request(self, traces):
        """Returns a request of this many traces, and its part of the ledger."""
        by_service, calls, nanos, edges = collections.defaultdict(list), collections.Counter(), 0, collections.Counter()
        for _ in range(traces):
            trace, now = self.random.randbytes(16), time.time_ns()
            number, failed = self.random.randrange(10**6), self.random.random() < 0.02
            ids = [self.random.randbytes(8) for _ in range(4)]
            route = self.random.choice(["/orders/{id}", "/carts/{id}"])
            rows = [
                ("web", ids[0], None, f"GET {route.replace('{id}', str(number))}", SERVER, (("http.route", route), ("http.request.method", "GET"))),
                ("web", ids[1], ids[0], "GET", CLIENT, ()),
                ("orders", ids[2], ids[1], f"load order {number}", SERVER, ()),
                ("orders", ids[3], ids[2], "SELECT orders", CLIENT, (("db.system.name", "postgresql"), ("db.namespace", "orders"))),
            ]
            for service, id, parent, name, kind, attributes in rows:
                duration = self.random.choice([10**6, 7 * 10**6, 90 * 10**6])
                fails = failed and service == "orders" and kind == SERVER
                by_service[service].append(span(trace, id, parent, name, kind, now - duration, duration, fails, attributes))
                label = f"GET {route}" if attributes[:1] == (("http.route", route),) else re.sub(r"\d+", "*", name)
                calls[service, label, KINDS[kind], "STATUS_CODE_ERROR" if fails else "STATUS_CODE_UNSET"] += 1
                nanos += duration
            edges.update([("user", "web"), ("web", "orders"), ("orders", "orders")])
        return b"".join(resource_spans(service, spans) for service, spans in by_service.items()), (calls, nanos, edges)

    def send(self, traces):
        body, (calls, nanos, edges) = self.request(traces)
        headers = {"content-type": "application/x-protobuf"}
        with urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{OTLP}/v1/traces", body, headers), timeout=30) as answer:
            assert answer.status == 200
        self.calls += calls
        self.nanos += nanos
        self.edges += edges


def get(url, seconds=10):
    with urllib.request.urlopen(url, timeout=seconds) as answer:
        return answer.read().decode()


def ask(path, **parameters):
    answer = json.loads(get(f"http://127.0.0.1:{PROMETHEUS}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"))
    assert answer["status"] == "success", answer
    return answer["data"]


def query(text):
    return ask("query", query=text)["result"]


def value(text):
    result = query(text)
    return float(result[0]["value"][1]) if result else 0.0


def until(what, condition, seconds=60):
    end = time.time() + seconds
    while time.time() < end:
        try:
            if condition():
                return
        except OSError:
            pass  # It does not listen yet.
        time.sleep(0.2)
    sys.exit(f"never happened: {what}")


def check_calls(shop, problems):
    found = collections.Counter()
    for series in query("traces_span_metrics_calls_total"):
        labels = series["metric"]
        found[labels["service_name"], labels["span_name"], labels["span_kind"], labels["status_code"]] += float(series["value"][1])
    if found != shop.calls:
        problems.append(f"calls: {dict(found)}, but sent were {dict(shop.calls)}")
    spans, seconds = sum(shop.calls.values()), shop.nanos / 1e9
    if value("sum(traces_span_metrics_duration_seconds_count)") != spans:
        problems.append("the counts of durations are not those of the calls")
    total = value("sum(traces_span_metrics_duration_seconds_sum)")
    if abs(total - seconds) > 1e-6 * seconds:
        problems.append(f"the durations are {total} s, but sent were {seconds} s")


def check_exemplars(problems):
    now = time.time()
    data = ask("query_exemplars", query="traces_span_metrics_duration_seconds_bucket", start=now - 3600, end=now)
    found = {(e["labels"]["trace_id"], e["labels"]["span_id"]) for series in data for e in series["exemplars"]}
    dangling = 0
    for trace_id, span_id in found:
        try:
            trace = json.loads(get(f"http://127.0.0.1:{SINK}/api/traces/{trace_id}"))
            dangling += not any(span["span_id"] == span_id for span in trace["spans"])
        except OSError:
            dangling += 1
    if dangling or len(found) < 10:
        problems.append(f"{dangling} of {len(found)} exemplars are not in the sink")
    return len(found), dangling


def check_graph(shop, problems):
    for (client, server), sent in shop.edges.items():
        counted = value(f'sum(traces_service_graph_request_total{{client="{client}",server="{server}"}})')
        if abs(counted - sent) > 0.25 * sent:
            problems.append(f"{client} to {server}: {counted} calls, but sent were {sent}")


def check_law(problems):
    fates = " + ".join(f"sum(spansieve_{fate})" for fate in ["exported_spans_total", "sampled_out_spans_total", "rejected_spans_total", "dropped_spans_total", "held_spans"])
    missing = value(f"sum(spansieve_received_spans_total) + sum(spansieve_recovered_spans_total) - ({fates})")
    if missing:
        problems.append(f"{missing} spans are not accounted for")
    ratio = value("spansieve_adjusted_calls_total / (spansieve_calls_total - spansieve_unrepresented_calls_total)")
    if abs(ratio - 1) > 0.1:
        problems.append(f"the adjusted calls are {ratio} of the calls")
    return ratio


def check_queries(problems):
    """Asks the queries of the dashboard and of the alerts. Only those about what did not happen may have no result."""
    dashboard = json.loads((ROOT / "deploy/monitoring/dashboard.grafana.json").read_text())
    panels = [(panel["title"], target["expr"]) for panel in dashboard["panels"] for target in panel.get("targets", [])]
    empty = [title for title, text in panels if not query(text.replace("$__rate_interval", "15s"))]
    problems += [f"no data for the panel: {title}" for title in empty]
    rules = re.findall(r'^ +expr: (".*")$', (ROOT / "deploy/monitoring/alerts.yaml").read_text(), re.M)
    for rule in rules:
        query(json.loads(rule))
    return len(panels), len(rules)


def run(arguments, folder):
    files = {"config.yaml": CONFIG, "prometheus.yml": SCRAPE}
    for file, text in files.items():
        pathlib.Path(folder, file).write_text(text)
    log = open(os.path.join(folder, "log"), "w")
    programs = []
    try:
        programs.append(subprocess.Popen([arguments.spansieve, "run", "--config", f"{folder}/config.yaml"], stdout=log, stderr=log))
        until("the daemon is ready", lambda: get(f"http://127.0.0.1:{OTLP}/readyz"))
        command = [arguments.prometheus, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data", f"--web.listen-address=127.0.0.1:{PROMETHEUS}"]
        programs.append(subprocess.Popen([*command, "--enable-feature=exemplar-storage"], stdout=log, stderr=log))
        until("Prometheus has scraped", lambda: value("up") == 1)
        return measure(arguments)
    except BaseException:
        log.flush()
        sys.stderr.write(pathlib.Path(folder, "log").read_text()[-4000:])
        raise
    finally:
        for program in reversed(programs):
            program.send_signal(signal.SIGTERM)
            program.wait(30)


def measure(arguments):
    shop, begin, due = Shop(), time.time(), time.time()
    while time.time() < begin + arguments.seconds:
        shop.send(TRACES)
        part = (time.time() - begin) / arguments.seconds
        due += TRACES * 4 / arguments.rate * (1 + 0.5 * math.sin(4 * math.pi * part) if arguments.draw else 1)
        time.sleep(max(0.0, due - time.time()))
    problems = []
    panels, alerts = check_queries(problems)
    if arguments.draw:
        picture, _ = pictures.draw(pictures.asker(f"http://127.0.0.1:{PROMETHEUS}"), begin, time.time(), "15s")
        arguments.draw.write_text(picture)
    until("all is settled", lambda: value("sum(spansieve_held_spans)") == 0 and value("spansieve_calls_total") == sum(shop.calls.values()))
    time.sleep(2.5)
    check_calls(shop, problems)
    exemplars, dangling = check_exemplars(problems)
    check_graph(shop, problems)
    ratio = check_law(problems)
    result = {"spans": sum(shop.calls.values()), "exemplars": exemplars, "dangling": dangling, "adjusted_ratio": round(ratio, 4), "panels": panels, "alerts": alerts}
    print(json.dumps(result | {"problems": problems}))
    return not problems


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spansieve")
    parser.add_argument("--prometheus", default="prometheus")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rate", type=float, default=2000, help="spans a second")
    parser.add_argument("--draw", type=pathlib.Path, metavar="OUT.svg", help="draw the dashboard")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(0 if run(arguments, folder) else 1)


main()
