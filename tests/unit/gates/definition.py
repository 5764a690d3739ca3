"""The evidence's definition in decimal arithmetic, which shares nothing with the product."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal


def ratios(w: Decimal, d: Decimal, b: Decimal, c: Decimal, side: str) -> tuple[Decimal, ...] | None:
    """The factors of a bet on rates b and c, per kind of call, against the nearest rates that differ by d.

    None for a bet that does not lie on this side of d.
    """
    if not (c - b > d + Decimal("1e-9") if side == "harm" else c - b < d - Decimal("1e-9")):
        return None
    low, high = max(Decimal(0), -d), min(Decimal(1), 1 - d)
    for _ in range(110):
        x = (low + high) / 2
        slope = w * (x + d - c) * x * (1 - x) + (1 - w) * (x - b) * (x + d) * (1 - x - d)
        low, high = (x, high) if slope < 0 else (low, x)
    return c / (x + d), (1 - c) / (1 - x - d), b / x, (1 - b) / (1 - x)


def won(counts: Sequence[int], factors: Sequence[Decimal]) -> Decimal:
    """The money that one unit becomes over these calls."""
    return sum((n * r.ln() for n, r in zip(counts, factors, strict=True)), Decimal(0)).exp()


def split_cost(counts: Sequence[int], w: Decimal) -> Decimal:
    """The price of calls that need not follow the weights."""
    nc, nb = sum(counts[:2]), sum(counts[2:])
    return sum((n * (Decimal(n) / (nc + nb) / share).ln() for n, share in ((nc, w), (nb, 1 - w)) if n), Decimal(0))
