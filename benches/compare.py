#!/usr/bin/env python3
"""Measures every row of the table, with this daemon and the Go Collector in turn, and writes the tables.

    benches/compare.py                        # five runs of everything, the table on the terminal: 100 minutes
    benches/compare.py --write                # also writes benches/RESULTS.md, benches/results/comparison.json, README.md
    benches/compare.py --no-collector grpc    # one case of this daemon
    benches/compare.py --against OLD grpc http    # compares with another build of this daemon

The script builds missing programs: the release binary, the load generator, the sink, and the Collector (5 minutes, the
first time). If it is called again after an interruption, it continues where it stopped. With a new build it starts again. The
figures are meaningful only on a quiet machine; below the table stands how much of the daemon's core other processes
took.
"""
import json
import sys
from dataclasses import dataclass

import measure
from cases import Cases
from measure import ROOT, SPANSIEVE_CONFIG, Journal, Program, Spread

COMPARISON = ROOT / "benches" / "results" / "comparison.json"
CASES = [
    "grpc", "fresh", "http", "gzip", "json", "kept", "single", "real", "real_fast", "norescue", "http_norescue", "steady", "faults",
    "hold", "burst", "container_192", "container_512", "start", "cores", "size",
]
# The Collector has no rescue, so cases without rescue are left out. Its performance on two cores has no target.
OURS = {"norescue", "http_norescue", "cores"}


@dataclass
class Row:
    """A row of the table. `most` or `least` is the target. `memory` says what the kernel gives to the daemon: `warm` pages,
    which the runs before have used, or `fresh` ones, which it has to find and clear first."""

    what: str
    case: str
    key: str
    unit: str
    most: float = None
    least: float = None
    digits: int = 2
    short: bool = False
    memory: str = "warm"

    def target(self):
        if self.most is None and self.least is None:
            return ""
        value = self.most if self.most is not None else self.least
        return f"{'<=' if self.most is not None else '>='} {value:,} {self.unit}".rstrip()

    def text(self, spread):
        if not spread:
            return "-"
        number = lambda x: f"{x:,.{self.digits}f}"
        span = f" [{number(spread.least)} - {number(spread.most)}]" if spread.runs > 1 and spread.least != spread.most else ""
        return f"{number(spread.median)} {self.unit}".rstrip() + span

    def verdict(self, spread):
        """Returns "reached", or by how much the median misses the target."""
        if not spread or not self.target():
            return ""
        if self.most is not None:
            if spread.median <= self.most:
                return "reached"
            return f"short by {100 * (spread.median / self.most - 1):.0f} %" if self.most else "missed"
        return "reached" if spread.median >= self.least else f"short by {100 * (1 - spread.median / self.least):.0f} %"

    def ratio(self, ours, theirs):
        """Returns how many times better `ours` is."""
        if not ours or not theirs or not ours.median or not theirs.median:
            return ""
        ratio = ours.median / theirs.median if self.more_is_better() else theirs.median / ours.median
        return f"{ratio:.1f}"

    def more_is_better(self):
        return self.most is None and self.unit == "spans/s" or self.least is not None


ROWS = [
    Row("CPU a span, gRPC", "grpc", "cpu_us", "us", most=1.1, short=True),
    Row("CPU a span, gRPC, memory touched for the first time", "fresh", "cpu_us", "us", most=0.65, memory="fresh"),
    Row("CPU a span, HTTP/protobuf", "http", "cpu_us", "us", most=1.0),
    Row("CPU a span, HTTP/protobuf with gzip", "gzip", "cpu_us", "us", most=1.8),
    Row("CPU a span, HTTP/JSON", "json", "cpu_us", "us", most=6),
    Row("CPU a span, gRPC, 100 % kept, at most 150,000 spans/s", "kept", "cpu_us", "us", most=4),
    Row("CPU a span, gRPC, traces of one span", "single", "cpu_us", "us"),
    Row("CPU a span, 3,000 spans/s of 200 services over 300 connections, 21 spans a request", "real", "cpu_us", "us", most=4, short=True),
    Row("the same at 30,000 spans/s", "real_fast", "cpu_us", "us", most=2),
    Row("ack p99, 3,000 spans/s of this shape", "real", "ack_p99_ms", "ms", digits=1),
    Row("page faults a span, 30,000 spans/s of this shape", "real_fast", "faults", "", most=0.005, digits=4),
    Row("page faults a span, gRPC flat out in a steady state", "faults", "faults", "", most=0.005, digits=4),
    Row("CPU a span, gRPC, without rescue", "norescue", "cpu_us", "us"),
    Row("CPU a span, HTTP/protobuf, without rescue", "http_norescue", "cpu_us", "us"),
    Row("spans/s on one core, gRPC", "grpc", "spans_per_s", "spans/s", least=800_000, digits=0, short=True),
    Row("spans/s on one core, HTTP/protobuf", "http", "spans_per_s", "spans/s", digits=0),
    Row("ack p99, gRPC flat out", "grpc", "ack_p99_ms", "ms", most=50, digits=1),
    Row("ack p99 at 20,000 spans/s in requests of 512", "steady", "ack_p99_ms", "ms", most=5, digits=1, short=True),
    Row("CPU a span at 20,000 spans/s in requests of 512", "steady", "cpu_us", "us"),
    Row("longest answer while a burst is decided", "burst", "pause_ms", "ms", most=5, digits=1),
    Row("... and on the idle daemon, for scale", "burst", "calm_max_ms", "ms", digits=1),
    Row("memory a pending span beyond its wire bytes, 1 M held", "hold", "bytes_beyond_wire", "B", most=60, digits=0),
    Row("resident memory over the wire bytes held, 1 M spans held", "hold", "rss_over_wire", "times"),
    Row("peak memory at 20,000 spans/s, 10 s wait", "steady", "rss_peak_mib", "MiB", most=160, digits=0, short=True),
    Row("memory left of a burst's, once it is decided", "burst", "rss_left_pct", "%", most=25, digits=0),
    *[
        row
        for mib in (192, 512)
        for row in (
            Row(f"most memory of a container of {mib} MiB, one sender flat out", f"container_{mib}", "peak_pct", "%", most=90, digits=0),
            Row(f"... killed by the kernel in a container of {mib} MiB", f"container_{mib}", "kills", "times", most=0, digits=0),
        )
    ],
    Row("idle memory", "start", "rss_idle_mib", "MiB", most=15, digits=1),
    Row("start to first span", "start", "start_ms", "ms", most=30, digits=0),
    Row("two cores over one, without rescue", "cores", "scaling", "times", least=1.7),
    Row("binary", "size", "mib", "MiB", most=15, digits=1, memory=""),
]


def measure_all(options, programs, cases, journal):
    """Measures run by run, case by case, program by program. Compared runs follow each other, and take turns in being
    first."""
    for number in range(1, options.runs + 1):
        for case in options.names:
            for program in programs if number % 2 else programs[::-1]:
                if program.is_collector and case in OURS:
                    continue
                key = {"case": case, "program": program.name, "digest": program.digest, "run": number}
                journal.measure(lambda: getattr(cases, case)(program), **key)


def spread(journal, program, case, key):
    entries = journal.find(case=case, program=program.name, digest=program.digest)
    return Spread.of([entry["values"].get(key) for entry in entries])


def table(rows, programs, journal, is_short=False):
    """Returns the rows as a Markdown table. The last ones are the traces that must be kept; a short table has one of them."""
    ours, others = programs[0], programs[1:]
    head = ["", "memory", "target", ours.name] + [cell for p in others for cell in (p.name, "ratio")] + ["target reached"]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for row in rows:
        own = spread(journal, ours, row.case, row.key)
        cells = [row.what, row.memory, row.target(), row.text(own)]
        for program in others:
            theirs = spread(journal, program, row.case, row.key)
            cells += [row.text(theirs), row.ratio(own, theirs)]
        lines.append("| " + " | ".join([*cells, row.verdict(own)]) + " |")
    lines += kept_rows(programs, journal)[: 1 if is_short else None]
    return "\n".join(lines)


def kept_rows(programs, journal):
    """Returns the rows of traces that must be kept: how many arrived, over all runs."""
    lines = []
    for key, what in [("errors", "traces with an error, kept"), ("slow", "slow traces, kept")]:
        pairs = []
        for program in programs:
            entries = [e["values"] for e in journal.find(program=program.name, digest=program.digest)]
            found = [v[key] for v in entries if key in v]
            pairs.append((sum(v[0] for v in found), sum(v[1] for v in found)))
        texts = [f"{kept:,} of {sent:,}" if sent else "-" for kept, sent in pairs]
        cells = [what, "", "all", texts[0]] + [c for text in texts[1:] for c in (text, "")]
        verdict = "" if not pairs[0][1] else "reached" if pairs[0][0] == pairs[0][1] else f"{pairs[0][1] - pairs[0][0]:,} missing"
        lines.append("| " + " | ".join([*cells, verdict]) + " |")
    whole = []
    for program in programs:
        entries = [e["values"] for e in journal.find(program=program.name, digest=program.digest)]
        sums = [sum(v.get(key, 0) for v in entries) for key in ("incomplete", "duplicates", "refused", "lost")]
        whole.append(", ".join(f"{n:,}" for n in sums))
    cells = ["incomplete traces, duplicate spans, refused spans, lost spans", "", "0, 0, 0, 0", whole[0]]
    cells += [c for text in whole[1:] for c in (text, "")]
    lines.append("| " + " | ".join([*cells, ""]) + " |")
    return lines


def footnote(facts, programs, journal):
    runs = [e for p in programs for e in journal.find(program=p.name, digest=p.digest)]
    others = [e["values"]["others_pct"] for e in runs if "others_pct" in e["values"] and e["case"] != "cores"]
    noise = Spread.of(others)
    quiet = f"Other processes took {noise.median:.1f} % of the daemon's core [{noise.least:.1f} - {noise.most:.1f}]. " if noise else ""
    return (
        f"{facts['cpu']}, {facts['cores']} cores, {facts['memory_gib']} GiB, Linux {facts['kernel']}, {facts['rust']}; "
        f"{facts['date']}, commit {facts['commit']}. {quiet}Medians with the least and the most of {max((e['run'] for e in runs), default=0)} "
        "runs, in which the programs took turns; a ratio says how many times better the first is."
    )


def problems(program, journal):
    """Returns what must never happen, and did: traces and spans that are missing or came twice."""
    found = []
    for entry in journal.find(program=program.name, digest=program.digest):
        values = entry["values"]
        for key in ("errors", "slow"):
            kept, sent = values.get(key, (0, 0))
            if kept < sent:
                found.append(f"{entry['case']}: {sent - kept} of {sent} traces that must be kept are missing ({key})")
        for key in ("incomplete", "duplicates", "malformed", "lost"):
            if values.get(key):
                found.append(f"{entry['case']}: {key}: {values[key]}")
    return found


def main():
    parser = measure.arguments(__doc__, CASES)
    parser.add_argument("--no-collector", action="store_true", help="do not build and measure the Go Collector")
    parser.add_argument("--against", type=measure.Path, help="another build of this daemon, measured in turn with it")
    options = measure.parse(parser, CASES)
    measure.allow_open_files()
    binary = measure.build_daemon(options)
    if not options.report:
        load, sink = (measure.build_helper(name, options) for name in ("load", "sink"))
    programs = [Program("Spansieve", binary, SPANSIEVE_CONFIG)]
    if options.against:
        programs.append(Program("against", options.against.resolve(), SPANSIEVE_CONFIG))
    if not options.no_collector:
        programs.append(Program("Collector", measure.build_collector(), measure.COLLECTOR / "config.yaml", is_collector=True))
    journal = Journal("comparison", options)
    if not options.report:
        measure.isolate(options)
        measure_all(options, programs, Cases(options, load, sink), journal)

    facts = measure.machine(binary)
    everything = table(ROWS, programs, journal) + "\n\n" + footnote(facts, programs, journal)
    print(everything)
    if options.write:
        wanted = {p.digest for p in programs}
        raw = {"machine": facts, "runs": [e for e in journal.entries if e["digest"] in wanted]}
        COMPARISON.write_text(json.dumps(raw, indent=1) + "\n")
        measure.replace_between(ROOT / "benches" / "RESULTS.md", "comparison", everything)
        short = table([row for row in ROWS if row.short], programs, journal, is_short=True)
        measure.replace_between(ROOT / "README.md", "comparison", short)
    found = problems(programs[0], journal)
    for problem in found:
        print(problem, file=sys.stderr)
    if found or journal.failures:
        sys.exit(f"{journal.failures} runs failed, {len(found)} results are wrong")


if __name__ == "__main__":
    main()
