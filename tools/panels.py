#!/usr/bin/env python3
"""Draws the panels of the Grafana dashboard as SVG, from the same queries, without Grafana.

    tools/panels.py [--minutes 60] [--rate-interval 5m] PROMETHEUS_URL OUT.svg

It asks each query of `deploy/monitoring/dashboard.grafana.json` of a Prometheus, and draws the answers where the dashboard
has them. `tools/check-prometheus.py --draw OUT.svg` draws those of its own load.
"""
import argparse, json, math, pathlib, re, time, urllib.parse, urllib.request
from html import escape

DASHBOARD = pathlib.Path(__file__).resolve().parent.parent / "deploy/monitoring/dashboard.grafana.json"
CELL_WIDTH, CELL_HEIGHT, GAP = 64, 28, 8  # pixels of a cell of Grafana's grid, and between panels
LEFT, TOP, BOTTOM, RIGHT = 58, 30, 54, 12  # pixels of a panel around its lines
POINTS = 120  # of a line
LEGEND_MAX = 4
STYLE = """
    text { font: 11px system-ui, sans-serif; fill: #1f2328; }
    .title { font-weight: 600; font-size: 12px; } .row { font-weight: 600; font-size: 16px; } .none { fill: #59636e; }
    .page { fill: #f6f8fa; } .panel { fill: #ffffff; stroke: #d1d9e0; } .grid { stroke: #eaeef2; }
    .line { fill: none; stroke-width: 1.6; }
"""
COLOURS = ["#0969da", "#bc4c00", "#1a7f37", "#8250df", "#bf3989", "#9a6700", "#1b7c83", "#cf222e"]


def shown(number, unit):
    """Returns a number in the unit of a panel."""
    if unit == "percentunit":
        return f"{100 * number:.3g} %"
    if unit == "currencyUSD":
        return f"${number:.3g}"
    if unit == "s" and number < 1:
        return f"{1000 * number:.3g} ms" if number else "0"
    steps = [(2**30, " GiB"), (2**20, " MiB"), (2**10, " KiB")] if unit in ("bytes", "Bps") else [(1e9, "G"), (1e6, "M"), (1e3, "k")]
    size, letter = next(((size, letter) for size, letter in steps if number >= size), (1, ""))
    return f"{number / size:.3g}{letter}" + {"cps": "/s", "reqps": "/s", "Bps": "/s", "s": " s"}.get(unit, "")


def nice_top(most, unit):
    """Returns a round number from `most` on, and a quarter or a fifth of it."""
    base = 1024 ** max(0, math.floor(math.log(most, 1024))) if unit in ("bytes", "Bps") and most > 0 else 1
    power = base * 10 ** math.floor(math.log10(most / base)) if most > 0 else 1
    top = next(n * power for n in (1, 2, 4, 5, 8, 10) if n * power >= most * 0.999)
    return top, top / (5 if top in (5 * power, 10 * power) else 4)


def legend(pattern, labels):
    return re.sub(r"\{\{(\w+)\}\}", lambda match: labels.get(match[1], ""), pattern).strip() or "value"


def lines_of(panel, ask, begin, end, rate_interval):
    """Returns the lines of a panel: (legend, [(time, value)]), those with the largest values first."""
    lines = []
    for target in panel["targets"]:
        query = target["expr"].replace("$__rate_interval", rate_interval)
        step = max(1, round((end - begin) / POINTS))
        for series in ask(query=query, start=begin, end=end, step=step):
            points = [(at, float(value)) for at, value in series["values"] if math.isfinite(float(value))]
            if points:
                lines.append((legend(target.get("legendFormat", ""), series["metric"]), points))
    return sorted(lines, key=lambda line: -max(value for _, value in line[1]))


def draw_panel(panel, lines, begin, end):
    """Yields the elements of one panel."""
    grid, unit = panel["gridPos"], panel.get("fieldConfig", {}).get("defaults", {}).get("unit", "short")
    x, y = grid["x"] * CELL_WIDTH + GAP, grid["y"] * CELL_HEIGHT + GAP
    width, height = grid["w"] * CELL_WIDTH - GAP, grid["h"] * CELL_HEIGHT - GAP
    if panel["type"] == "row":
        yield f'<text class="row" x="{x}" y="{y + 16}">{escape(panel["title"])}</text>'
        return
    title_max = int((width - 16) / 7.4)
    title = panel["title"] if len(panel["title"]) <= title_max else panel["title"][: title_max - 1] + "…"
    yield f'<rect class="panel" x="{x}" y="{y}" width="{width}" height="{height}" rx="3"/>'
    yield f'<text class="title" x="{x + 8}" y="{y + 18}">{escape(title)}</text>'
    if not lines:
        yield f'<text class="none" x="{x + width / 2}" y="{y + height / 2}" text-anchor="middle">no data</text>'
        return
    top, step = nice_top(max(value for _, points in lines for _, value in points), unit)
    inner, tall = width - LEFT - RIGHT, height - TOP - BOTTOM
    place_x = lambda at: x + LEFT + inner * (at - begin) / (end - begin)
    place_y = lambda value: y + TOP + tall * (1 - max(value, 0) / top)
    for tick in range(round(top / step) + 1):
        at = place_y(tick * step)
        yield f'<line class="grid" x1="{x + LEFT}" y1="{at:.1f}" x2="{x + width - RIGHT}" y2="{at:.1f}"/>'
        yield f'<text x="{x + LEFT - 5}" y="{at + 4:.1f}" text-anchor="end">{shown(tick * step, unit)}</text>'
    for index, (name, points) in enumerate(lines):
        path = " ".join(f"{place_x(at):.1f},{place_y(value):.1f}" for at, value in points)
        yield f'<polyline class="line" stroke="{COLOURS[index % len(COLOURS)]}" points="{path}"/>'
    for index, (name, points) in enumerate(lines[:LEGEND_MAX]):
        column, row = index % 2, index // 2
        more = f" and {len(lines) - LEGEND_MAX} more" if index == LEGEND_MAX - 1 and len(lines) > LEGEND_MAX else ""
        room = int((width / 2 - 28) / 6.2) - len(more)
        text = (name if len(name) <= room else name[: room - 1] + "…") + more
        left, at = x + 10 + column * width / 2, y + height - BOTTOM + 26 + row * 16
        yield f'<rect x="{left}" y="{at - 8}" width="9" height="9" rx="2" fill="{COLOURS[index]}"/>'
        yield f'<text x="{left + 13}" y="{at}">{escape(text)}</text>'


def draw(ask, begin, end, rate_interval):
    """Returns the picture, and the titles of the panels without data. `ask` answers a query over a range of time."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    width = 24 * CELL_WIDTH + GAP
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels) * CELL_HEIGHT + 2 * GAP
    out, empty = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'], []
    out += [f"<style>{STYLE}</style>", f'<rect class="page" width="{width}" height="{height}"/>']
    for panel in panels:
        lines = [] if panel["type"] == "row" else lines_of(panel, ask, begin, end, rate_interval)
        if panel["type"] != "row" and not lines:
            empty.append(panel["title"])
        out += draw_panel(panel, lines, begin, end)
    return "\n".join([*out, "</svg>"]) + "\n", empty


def asker(url):
    """Returns a function that asks a Prometheus for a range of time."""

    def ask(**parameters):
        address = f"{url.rstrip('/')}/api/v1/query_range?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(address, timeout=30) as answer:
            return json.load(answer)["data"]["result"]

    return ask


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", metavar="PROMETHEUS_URL")
    parser.add_argument("out", metavar="OUT.svg", type=pathlib.Path)
    parser.add_argument("--minutes", type=float, default=60, help="the time until now that is drawn")
    parser.add_argument("--rate-interval", default="5m", help="in place of $__rate_interval")
    arguments = parser.parse_args()
    end = time.time()
    picture, empty = draw(asker(arguments.url), end - 60 * arguments.minutes, end, arguments.rate_interval)
    arguments.out.write_text(picture)
    print(f"{arguments.out}: {len(empty)} panels without data: {', '.join(empty) or 'none'}")


if __name__ == "__main__":
    main()
