"""Line charts as SVG text, readable on a light page and on a dark one."""
import math
from html import escape

PANEL_WIDTH, PANEL_HEIGHT, GAP = 360, 220, 70
LEFT, TOP, BOTTOM = 64, 64, 78
STYLE = """
    svg { --page: #ffffff; --ink: #1f2328; --faint: #d1d9e0; --a: #0969da; --b: #bc4c00; --c: #1a7f37; }
    @media (prefers-color-scheme: dark) {
      svg { --page: #0d1117; --ink: #e6edf3; --faint: #3d444d; --a: #58a6ff; --b: #f0883e; --c: #56d364; }
    }
    text { font: 12px system-ui, sans-serif; fill: var(--ink); }
    .title { font-size: 15px; font-weight: 600; }
    .page { fill: var(--page); } .grid { stroke: var(--faint); } .axis { stroke: var(--ink); }
    .line { fill: none; stroke-width: 2; } .bar { stroke-width: 1.5; }
"""
COLOURS = ["a", "b", "c"]


def short(number):
    """Returns a number in short form: 1000 as 1k, 10000000 as 10M."""
    for size, letter in [(1e9, "G"), (1e6, "M"), (1e3, "k")]:
        if number >= size:
            return f"{number / size:g}{letter}"
    return f"{number:g}"


def nice_step(most):
    """Returns 1, 2 or 5 times a power of ten, so that 0..most has about four to ten steps."""
    power = 10 ** math.floor(math.log10(most)) if most > 0 else 1
    return next(s * power / 10 for s in (1, 2, 5, 10, 20) if most / (s * power / 10) <= 6)


class Panel:
    """A diagram with a logarithmic x axis, and a y axis from 0. `series`: (name, [(x, median, least, most,
    is_whole)])."""

    def __init__(self, left, x_label, y_label, series):
        self.left, self.x_label, self.y_label = left, x_label, y_label
        self.series = [(name, points) for name, points in series if points]
        xs = sorted({p[0] for _, points in self.series for p in points})
        self.ticks = xs
        self.low, self.high = math.log10(xs[0]), math.log10(xs[-1])
        top = max(p[3] for _, points in self.series for p in points)
        self.step = nice_step(top)
        self.top = math.ceil(top / self.step + 0.01) * self.step

    def x(self, value):
        part = (math.log10(value) - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return self.left + part * PANEL_WIDTH

    def y(self, value):
        return TOP + PANEL_HEIGHT * (1 - value / self.top)

    def svg(self):
        yield from self.axes()
        for index, (name, points) in enumerate(self.series):
            yield from self.line(points, COLOURS[index % len(COLOURS)])
            yield from self.legend(index, name)

    def axes(self):
        bottom, right = TOP + PANEL_HEIGHT, self.left + PANEL_WIDTH
        for count in range(round(self.top / self.step) + 1):
            value = count * self.step
            yield f'<line class="grid" x1="{self.left}" x2="{right}" y1="{self.y(value):.1f}" y2="{self.y(value):.1f}"/>'
            yield f'<text x="{self.left - 8}" y="{self.y(value) + 4:.1f}" text-anchor="end">{value:.6g}</text>'
        yield f'<line class="axis" x1="{self.left}" x2="{right}" y1="{bottom}" y2="{bottom}"/>'
        last = -math.inf
        for value in self.ticks:
            if self.x(value) - last >= 26:
                last = self.x(value)
                yield f'<text x="{last:.1f}" y="{bottom + 18}" text-anchor="middle">{short(value)}</text>'
        yield f'<text x="{self.left + PANEL_WIDTH / 2}" y="{bottom + 38}" text-anchor="middle">{escape(self.x_label)}</text>'
        yield f'<text x="{self.left}" y="{TOP - 12}">{escape(self.y_label)}</text>'

    def line(self, points, colour):
        path = " ".join(f"{self.x(x):.1f},{self.y(median):.1f}" for x, median, *_ in points)
        yield f'<polyline class="line" style="stroke: var(--{colour})" points="{path}"/>'
        for x, median, least, most, is_whole in points:
            place = f'{self.x(x):.1f}'
            yield f'<line class="bar" style="stroke: var(--{colour})" x1="{place}" x2="{place}" y1="{self.y(least):.1f}" y2="{self.y(most):.1f}"/>'
            fill = f"var(--{colour})" if is_whole else "var(--page)"
            yield f'<circle cx="{place}" cy="{self.y(median):.1f}" r="4" style="fill: {fill}; stroke: var(--{colour})"/>'

    def legend(self, index, name):
        x, y = self.left + index * 175, TOP + PANEL_HEIGHT + 62
        yield f'<line class="line" style="stroke: var(--{COLOURS[index % len(COLOURS)]})" x1="{x}" x2="{x + 18}" y1="{y - 4}" y2="{y - 4}"/>'
        yield f'<text x="{x + 24}" y="{y}">{escape(name)}</text>'


def chart(title, x_label, panels):
    """Returns the text of an SVG file with the panels side by side. `panels`: a (label of the y axis, series) each."""
    width = LEFT + len(panels) * (PANEL_WIDTH + GAP)
    height = TOP + PANEL_HEIGHT + BOTTOM
    body = []
    for index, (y_label, series) in enumerate(panels):
        body += Panel(LEFT + index * (PANEL_WIDTH + GAP), x_label, y_label, series).svg()
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">',
            f"<title>{escape(title)}</title>",
            f"<style>{STYLE}</style>",
            f'<rect class="page" width="{width}" height="{height}"/>',
            f'<text class="title" x="{LEFT}" y="26">{escape(title)}</text>',
            *body,
            "</svg>",
            "",
        ]
    )
