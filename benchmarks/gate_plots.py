"""Two plots of the campaign as SVG, written by hand: what happens to harmless canaries, and to broken ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

COLOURS = {
    "forty bets": "#0b6e4f",
    "threshold": "#c8553d",
    "peeked z-test": "#e0a100",
    "minimum calls": "#5b5f97",
    "interval": "#8a8a8a",
}
_LEFT, _WIDTH, _ROW = 300, 420, 30


def dots(
    title: str, axis: str, rows: Sequence[tuple[str, Mapping[str, float | None]]], names: Sequence[str], most: float
) -> str:
    """One row per world, one dot per rule, on a linear scale 0..most. A rule without a value has no dot."""
    height = 96 + _ROW * len(rows)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LEFT + _WIDTH + 50}" height="{height}" '
        f'font-family="system-ui, sans-serif" font-size="12" role="img" aria-label="{escape(title)}">'
    )
    parts = [
        head,
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        f'<text x="16" y="22" font-size="15" font-weight="600" fill="#222">{escape(title)}</text>',
    ]
    x = 16.0
    for name in names:
        colour = COLOURS[name]
        parts.append(f'<circle cx="{x + 5}" cy="41" r="5" fill="{colour}"/>')
        parts.append(f'<text x="{x + 14}" y="45" fill="#444">{escape(name)}</text>')
        x += 30 + 7 * len(name)
    bottom = 64 + _ROW * len(rows)
    for tick in range(5):
        at, value = _LEFT + _WIDTH * tick / 4, most * tick / 4
        parts.append(f'<line x1="{at}" y1="58" x2="{at}" y2="{bottom}" stroke="#e3e3e3"/>')
        parts.append(f'<text x="{at}" y="{bottom + 16}" text-anchor="middle" fill="#666">{value:g}</text>')
    parts.append(f'<text x="{_LEFT + _WIDTH}" y="{bottom + 30}" text-anchor="end" fill="#666">{escape(axis)}</text>')
    for i, (label, values) in enumerate(rows):
        y = 64 + _ROW * (i + 0.5)
        parts.append(f'<text x="{_LEFT - 12}" y="{y + 4}" text-anchor="end" fill="#222">{escape(label)}</text>')
        for name in reversed(names):  # ours on top
            value, colour = values.get(name), COLOURS[name]
            if value is not None:
                at = _LEFT + _WIDTH * min(value, most) / most
                parts.append(
                    f'<circle cx="{at:.1f}" cy="{y:.1f}" r="5.5" fill="{colour}" fill-opacity="0.85">'
                    f"<title>{escape(f'{name}, {label}: {value:.3g}')}</title></circle>"
                )
    return "\n".join([*parts, "</svg>", ""])
