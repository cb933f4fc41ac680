#!/usr/bin/env python3
"""Measures where the time of a span goes: CPU time by step, page faults, system calls and allocations under load.

    benches/profile.py                    # every path, the table on the terminal: 5 minutes
    benches/profile.py --write            # also writes benches/RESULTS.md
    benches/profile.py grpc --runs 1      # one path

The script builds with the profile `profiling`. It needs perf, and root for system calls and allocations. Sampling costs
a few per cent.
"""
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import measure
from cases import KEEP_ALL, Cases
from measure import LOAD_CORE, ROOT, SPANSIEVE_CONFIG, Program, pinned

PATHS = {
    "grpc": ("gRPC", ["--proto", "grpc"], {"rescue": False}),
    "rescue": ("gRPC, rescue", ["--proto", "grpc"], {}),
    "http": ("HTTP", ["--proto", "http"], {"rescue": False}),
    "gzip": ("gzip", ["--gzip", "--prepared", 4_000], {"rescue": False}),
    "json": ("JSON", ["--json"], {"rescue": False}),
    "kept": ("100 % kept", ["--proto", "grpc"], {"rescue": False, "policies": KEEP_ALL}),
}
WARM_UP_S, WINDOW_S, SAMPLES_HZ = 5, 5, 1999

# Steps with patterns of symbols; the first match counts. `k ` means that the symbol is in the kernel.
STEPS = [
    ("memory from the kernel", r"k .*(fault|anonymous_page|clear_page|mm_fault|vma|memcg|mem_cgroup|folio|lruvec|unmap|zap_|madvise|rmqueue|freelist|free_unref|alloc_pages|mmap|pte|tlb|rcu_read|error_entry)"),
    ("receive and send, in the kernel", r"k "),
    ("inflate", r"zlib_rs|inflate|crc32|zstd"),
    ("JSON to protobuf", r"otlp::json|serde_json|core::num|memchr"),
    ("copy", r"memmove|memcpy|memset"),
    ("allocator", r"_rjem_|rust_alloc|rust_dealloc"),
    ("encode and batch the kept", r"cloud_trace::|export::|resource::|forward::|hash_bytes_long|prost|tonic|from_utf8|trace_state"),
    ("decide and let go", r"decide|let_go|drop_trace|verdicts|Policies|sampling|census|gaps|due::|sweep|smallvec.*drop|drop_slow|Arc"),
    ("find and merge the trace", r"tail::|smallvec|hashbrown|slice::sort|insert_tail"),
    ("scan", r"otlp::|predicates"),
    ("HTTP, gRPC, runtime", r"h2::|hyper|http|tokio|receiver|bytes::|futures|parking_lot|daemon|telemetry|metrics|pthread|syscall|recv|writev|epoll"),
    ("other", r""),
]
PROBES = ["_rjem_malloc", "_rjem_calloc", "_rjem_realloc", "_rjem_mallocx", "_rjem_rallocx"]


def step(dso, symbol):
    text = ("k " if "kernel" in dso else "") + symbol
    return next(name for name, pattern in STEPS if re.search(pattern, text))


def shares(data):
    """Returns the share of the samples by step, and the most frequent symbols."""
    command = ["perf", "report", "-i", data, "--no-children", "-g", "none", "--percent-limit", "0", "--stdio", "-F", "overhead,dso,symbol"]
    output = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    parts, symbols = dict.fromkeys((name for name, _ in STEPS), 0.0), []
    for line in output.splitlines():
        found = re.match(r"\s*([\d.]+)%\s+(\S+)\s+\[(.)\]\s+(.*)$", line)
        if found:
            percent, dso, _, symbol = found.groups()
            parts[step(dso, symbol)] += float(percent) / 100
            symbols.append((float(percent), step(dso, symbol), symbol.strip()))
    return parts, symbols


def add_probes(binary):
    """Adds probes that count the allocator's calls; needs root. Returns the names of the events that were added."""
    names = []
    for name in PROBES:
        subprocess.run(["perf", "probe", "-q", "-d", f"probe_spansieve:{name}"], stderr=subprocess.DEVNULL)
        added = subprocess.run(["perf", "probe", "-q", "-x", str(binary), "--add", f"probe_spansieve:{name}={name}"], stderr=subprocess.DEVNULL)
        names += [f"probe_spansieve:{name}"] if added.returncode == 0 else []
    return names


def counts(pid, events, seconds):
    """Returns how often each event happened. Events that cannot be counted are missing."""
    command = ["perf", "stat", "-x", ",", "-p", str(pid), "-e", ",".join(events), "--", "sleep", str(seconds)]
    output = subprocess.run(command, stderr=subprocess.PIPE, text=True).stderr
    fields = (line.split(",") for line in output.splitlines())
    return {f[2]: float(f[0]) for f in fields if len(f) > 2 and re.fullmatch(r"[\d.]+", f[0])}


def profile(cases, program, name, probes):
    """Measures one path: the cost of a span by step, and its page faults, system calls and allocations."""
    _, load, config = PATHS[name]
    data = measure.STATE / f"profile-{name}.data"
    seconds = WARM_UP_S + 2 * WINDOW_S + 2
    with cases.running(program, 2, **config) as run:
        daemon, received = run.daemon, lambda: run.daemon.metric("spansieve_received_spans_total")
        command = pinned(LOAD_CORE, [cases.load, *load, "--duration", seconds])
        sender = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL)
        time.sleep(WARM_UP_S)
        spans, cpu = received(), daemon.cpu()
        recording = ["perf", "record", "-q", "-F", SAMPLES_HZ, "-p", daemon.pid, "-o", data, "--", "sleep", WINDOW_S]
        subprocess.run(list(map(str, recording)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        spans, cpu = received() - spans, daemon.cpu() - cpu
        before = received()
        events = counts(daemon.pid, ["page-faults", "raw_syscalls:sys_enter", *probes], WINDOW_S)
        counted = received() - before
        sender.wait()
    parts, symbols = shares(data)
    calls = sum(events.get(probe, 0) for probe in probes)
    return {
        "us": cpu / spans * 1e6,
        "steps": {step: part * cpu / spans * 1e6 for step, part in parts.items()},
        "faults": events.get("page-faults", 0) / counted,
        "syscalls": events.get("raw_syscalls:sys_enter", 0) / counted,
        "allocations": calls / counted if probes else None,
        "symbols": symbols[:25],
    }


def table(results):
    names = list(results)
    cell = lambda value, digits: "-" if value is None else f"{value:.{digits}f}"
    rows = [["us of CPU a span"] + [PATHS[name][0] for name in names], ["---"] * (1 + len(names))]
    for step, _ in STEPS:
        values = [results[name]["steps"][step] for name in names]
        if max(values) >= 0.005:
            rows.append([step] + [cell(value, 2) for value in values])
    rows.append(["**all**"] + [f"**{results[name]['us']:.2f}**" for name in names])
    for key, label, digits in (("syscalls", "system calls", 3), ("faults", "page faults", 3), ("allocations", "allocations", 2)):
        rows.append([f"{label} a span"] + [cell(results[name][key], digits) for name in names])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def main():
    options = measure.parse(measure.arguments(__doc__, PATHS), PATHS)
    if not options.binary:
        measure.run(["cargo", "build", "--profile", "profiling", "--locked"], cwd=ROOT)
        options.binary = ROOT / "target" / "profiling" / "spansieve"
    load, sink = (measure.build_helper(name, options) for name in ("load", "sink"))
    measure.isolate(options)
    measure.STATE.mkdir(parents=True, exist_ok=True)
    program = Program("spansieve", options.binary.resolve(), SPANSIEVE_CONFIG)
    probes = add_probes(program.binary)
    cases = Cases(options, load, sink)
    results = {}
    for name in options.names:
        runs = sorted((profile(cases, program, name, probes) for _ in range(options.runs)), key=lambda run: run["us"])
        results[name] = runs[len(runs) // 2]
        print(f"\n{PATHS[name][0]}: {results[name]['us']:.2f} us a span", file=sys.stderr)
        for percent, step_name, symbol in results[name]["symbols"]:
            print(f"  {percent:5.1f} %  {step_name:32} {symbol[:90]}", file=sys.stderr)
    subprocess.run(["perf", "probe", "-q", "-d", "probe_spansieve:*"], stderr=subprocess.DEVNULL)
    print(table(results))
    if options.write:
        measure.replace_between(ROOT / "benches" / "RESULTS.md", "profile", table(results))


if __name__ == "__main__":
    main()
