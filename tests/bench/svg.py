"""Small charts as SVG that reads well on a light and on a dark page.

Written out here rather than by a plotting library: a chart is a few dozen elements, its file stays small and comparable
line by line, and one file follows the reader's colour scheme, which none of the libraries writes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

Value = float | None
WIDTH, HEIGHT = 250, 170  # of a panel's plot
LEFT, TOP, GAP_X, GAP_Y = 46, 64, 62, 66
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1f2328 } .title { font-weight: 600 } .small { font-size: 11px }
.grid { stroke: #d0d7de; stroke-width: 1 } .line { fill: none; stroke-width: 2 } .aim { stroke-dasharray: 4 3 }
.s0 { stroke: #0969da; fill: #0969da } .s1 { stroke: #bc4c00; fill: #bc4c00 } .s2 { stroke: #1a7f37; fill: #1a7f37 }
.s3 { stroke: #8250df; fill: #8250df } .s4 { stroke: #6e7781; fill: #6e7781 } .line { fill: none }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .grid { stroke: #3d444d }
  .s0 { stroke: #4493f8; fill: #4493f8 } .s1 { stroke: #f0883e; fill: #f0883e } .s2 { stroke: #3fb950; fill: #3fb950 }
  .s3 { stroke: #ab7df8; fill: #ab7df8 } .s4 { stroke: #9198a1; fill: #9198a1 } .line { fill: none }
}"""


@dataclass(frozen=True)
class Panel:
    """One plot.

    Attributes:
        title: with the unit, for example ``creation, s``.
        x: positions for ``lines``, names of the groups for ``bars``.
        series: name → values, one for each of ``x``; None where there is none. The same names in all panels.
    """

    title: str
    x: Sequence[float | str]
    series: Mapping[str, Sequence[Value]]

    @property
    def top(self) -> float:
        return max((value for values in self.series.values() for value in values if value is not None), default=1.0)


def lines(alt: str, panels: Sequence[Panel], *, x_title: str = "", columns: int = 3) -> str:
    """Line charts side by side; ``alt`` describes the whole for who cannot see it."""
    return _page(alt, panels, columns, _lines, x_title)


def bars(alt: str, panels: Sequence[Panel], *, columns: int = 3) -> str:
    """Grouped bar charts side by side."""
    return _page(alt, panels, columns, _bars, "")


def _page(alt: str, panels: Sequence[Panel], columns: int, draw: object, x_title: str) -> str:
    columns = min(columns, len(panels))
    rows = math.ceil(len(panels) / columns)
    width = LEFT + columns * WIDTH + (columns - 1) * GAP_X + 16
    height = TOP + rows * HEIGHT + rows * GAP_Y
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img">',
        f"<title>{escape(alt)}</title>",
        f"<style>{STYLE}</style>",
    ]
    at = LEFT
    for number, name in enumerate(panels[0].series):
        parts.append(f'<rect class="s{number}" x="{at}" y="10" width="12" height="12"/>')
        parts.append(f'<text x="{at + 18}" y="21">{escape(name)}</text>')
        at += 40 + 7 * len(name)
    for number, panel in enumerate(panels):
        x = LEFT + (number % columns) * (WIDTH + GAP_X)
        y = TOP + (number // columns) * (HEIGHT + GAP_Y)
        parts.append(f'<g transform="translate({x} {y})">')
        parts.append(f'<text class="title" x="0" y="-12">{escape(panel.title)}</text>')
        parts += _scale(panel.top)
        parts += draw(panel, _nice(panel.top))  # type: ignore[operator]
        if x_title:
            parts.append(
                f'<text class="small" x="{WIDTH / 2:g}" y="{HEIGHT + 34}" text-anchor="middle">{x_title}</text>'
            )
        parts.append("</g>")
    return "\n".join([*parts, "</svg>"]) + "\n"


def _nice(top: float) -> float:
    """The end of the scale: the next of 1, 2, 2.5, 5 × a power of ten that ``top`` fits under."""
    power = 10 ** math.floor(math.log10(top)) if top > 0 else 1.0
    return next(step * power for step in (1, 1.5, 2, 2.5, 4, 5, 7.5, 10) if step * power >= top * 0.999)


def _scale(top: float) -> list[str]:
    end, parts = _nice(top), []
    for step in range(5):
        y = HEIGHT - HEIGHT * step / 4
        parts.append(f'<line class="grid" x1="0" x2="{WIDTH}" y1="{y:g}" y2="{y:g}"/>')
        parts.append(f'<text class="small" x="-6" y="{y + 4:g}" text-anchor="end">{end * step / 4:,.4g}</text>')
    return parts


def _lines(panel: Panel, end: float) -> list[str]:
    right = max(float(x) for x in panel.x)
    at = [WIDTH * float(x) / right for x in panel.x]
    parts = [
        f'<text class="small" x="{x:.1f}" y="{HEIGHT + 16}" text-anchor="middle">{name:g}</text>'
        for x, name in zip(at, panel.x, strict=True)
        if isinstance(name, int | float)
    ]
    for number, values in enumerate(panel.series.values()):
        points = [(x, HEIGHT - HEIGHT * v / end) for x, v in zip(at, values, strict=True) if v is not None]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline class="line s{number}" points="{path}"/>')
        parts += [f'<circle class="s{number}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in points]
    return parts


def _bars(panel: Panel, end: float) -> list[str]:
    parts: list[str] = []
    group = WIDTH / len(panel.x)
    bar = group * 0.8 / len(panel.series)
    for place, name in enumerate(panel.x):
        middle = (place + 0.5) * group
        parts.append(
            f'<text class="small" x="{middle:.1f}" y="{HEIGHT + 16}" text-anchor="middle">{escape(str(name))}</text>'
        )
        for number, values in enumerate(panel.series.values()):
            if (value := values[place]) is not None:
                tall, x = HEIGHT * value / end, place * group + group * 0.1 + number * bar
                where = f'x="{x:.1f}" y="{HEIGHT - tall:.1f}" width="{bar * 0.9:.1f}" height="{tall:.1f}"'
                parts.append(f'<rect class="s{number}" {where}/>')
    return parts
