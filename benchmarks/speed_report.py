"""What benchmarks.speed measured as a document: ratios and goals first, then the figures, then the plot."""

from __future__ import annotations

import math
from typing import Any


def ratios(found: dict[str, Any]) -> list[tuple[str, str, str, bool]]:
    """(figure, measured, goal, met) for each goal; ratios within this run."""
    ours = found["rollout SQLite 0 ms"]
    rate = ours["steps_per_second"]
    others = {k.removeprefix("rival "): v for k, v in found.items() if k.startswith("rival ")}
    script, slow_script = others.pop("sdk 0 ms"), others.pop("sdk 50 ms")
    best = max(others.values(), default=float("nan"))
    far = found["rollout SQLite 50 ms"]
    slow = far["steps_per_second"] / 640
    against = far["steps_per_second"] / slow_script
    bare = ours["rollback_seconds"] / found["bare 0 ms"]["seconds"]
    far_bare = far["rollback_seconds"] / found["bare 50 ms"]["seconds"]
    first = ours["first_patch_ms"]
    meanwhile = {ms: found[f"interrupted {ms} ms"]["first_patch_ms"] for ms in (0, 50)}
    whole = f"rollback of {found['numbers']:,} numbers against bare PATCHes"
    few, many = found["waiting"][100], found["waiting"][100_000]
    idle = many["idle_cpu_share"] / max(few["idle_cpu_share"], 1e-9)
    thousand, ten = found["growth"][1000], found["growth"][10_000]
    time_ratio = thousand["steps_per_second"] / ten["steps_per_second"] * 10
    return [
        (
            "durable steps/s at 0 ms against the threaded SDK script",
            f"{rate / script:.1f} x",
            "2 x",
            rate >= 2 * script,
        ),
        (
            "at 0 ms against the best of DBOS, procrastinate, APScheduler jobs",
            f"{rate / best:.1f} x",
            "5 x",
            rate >= 5 * best,
        ),
        ("at 50 ms and concurrency 32, against 640/s", f"{slow:.2f} x", "0.85 x", slow >= 0.85),
        ("at 50 ms against the threaded SDK script", f"{against:.2f} x", "1.1 x", against >= 1.1),
        (f"{whole} at 0 ms", f"{bare:.2f} x", "at most 2.5 x", bare <= 2.5),
        (f"{whole} at 50 ms", f"{far_bare:.2f} x", "at most 1.5 x", far_bare <= 1.5),
        ("first PATCH of a rollback after the command, at 0 ms", f"{first:.0f} ms", "at most 100 ms", first <= 100),
        *(
            (f"the same at {ms} ms, with forward writes under way", f"{late:.0f} ms", "at most 100 ms", late <= 100)
            for ms, late in meanwhile.items()
        ),
        ("idle processor time, 100,000 waiting against 100", f"{idle:.2f} x", "at most 1.1 x", idle <= 1.1),
        (
            "idle processor time with 100,000 waiting",
            f"{100 * many['idle_cpu_share']:.2f} % of a core",
            "below 0.5 %",
            many["idle_cpu_share"] < 0.005,
        ),
        (
            "memory with 100,000 waiting above 100",
            f"{many['memory_mb'] - few['memory_mb']:.1f} MB",
            "at most 5 MB",
            many["memory_mb"] - few["memory_mb"] <= 5,
        ),
        *_due_ratios(found),
        *_replica_ratios(found),
        ("commits per record", f"{ours['commits_per_record']:.3f}", "at most 0.1", ours["commits_per_record"] <= 0.1),
        ("10,000 numbers against 1,000: time", f"{time_ratio:.1f} x", "at most 11 x", time_ratio <= 11),
        (
            "10,000 numbers against 1,000: memory",
            f"{ten['memory_mb'] / thousand['memory_mb']:.1f} x",
            "at most 3 x",
            ten["memory_mb"] <= 3 * thousand["memory_mb"],
        ),
    ]


def _due_ratios(found: dict[str, Any]) -> list[tuple[str, str, str, bool]]:
    due = found.get("due")
    if due is None:
        return []
    wrong = due["lost"] + due["early"]
    return [
        ("1,000 due in one second among 100,000 waiting: lost or early", f"{wrong:.0f}", "0", wrong == 0),
        ("the first of them, after its moment", f"{due['first_ms']:.0f} ms", "at most 100 ms", due["first_ms"] <= 100),
    ]


def _replica_ratios(found: dict[str, Any]) -> list[tuple[str, str, str, bool]]:
    shared = found.get("replicas")
    if shared is None:
        return []
    twice = sum(r["written_twice"] + r["missing"] for of in shared.values() for r in of.values())
    gains = {ms: of[4]["steps_per_second"] / of[1]["steps_per_second"] for ms, of in shared.items()}
    far = max(gains)
    return [
        ("two and four replicas: a target written twice for one step, or not at all", f"{twice:.0f}", "0", twice == 0),
        (f"four replicas against one, at {far} ms", f"{gains[far]:.1f} x", "1.5 x", gains[far] >= 1.5),
    ]


def document(found: dict[str, Any]) -> str:
    """The tables as Markdown."""
    runs = "one run" if found["repeats"] == 1 else f"medians of {found['repeats']} runs"
    load = " and ".join(f"{value:.1f}" for value in found["load"])
    lines = [
        f"{found['numbers']:,} numbers, {runs}; load of the machine before and after: {load}.",
        "",
        "| figure | measured | goal | met |",
        "| --- | --- | --- | --- |",
    ]
    lines += [f"| {a} | {b} | {c} | {'yes' if d else 'no'} |" for a, b, c, d in ratios(found)]
    lines += [
        "",
        "| what | durable steps/s | rollback s | first PATCH ms | processor ms a step |",
        "| --- | --- | --- | --- | --- |",
    ]
    for key, value in found.items():
        if key.startswith("rollout "):
            lines.append(
                f"| {key} | {value['steps_per_second']:,.0f} | {value['rollback_seconds']:.2f} | "
                f"{value['first_patch_ms']:.0f} | {value['cpu_ms_per_step']:.2f} |"
            )
    lines += [f"| {k.removeprefix('rival ')} | {v:,.0f} | | | |" for k, v in found.items() if k.startswith("rival ")]
    lines += [
        f"| {k}: PATCHes alone | {v['per_second']:,.0f} | {v['seconds']:.2f} | | |"
        for k, v in found.items()
        if k.startswith("bare ")
    ]
    lines += ["", "| numbers in one rollout | durable steps/s | memory MB |", "| --- | --- | --- |"]
    lines += [f"| {n:,} | {g['steps_per_second']:,.0f} | {g['memory_mb']:.0f} |" for n, g in found["growth"].items()]
    lines += ["", "| waiting rollouts | processor share | memory MB |", "| --- | --- | --- |"]
    lines += [
        f"| {n:,} | {100 * w['idle_cpu_share']:.2f} % | {w['memory_mb']:.0f} |" for n, w in found["waiting"].items()
    ]
    if "replicas" in found:
        shared = found["replicas"]
        head = " | ".join(f"durable steps/s at {ms} ms" for ms in shared)
        lines += ["", f"| replicas on PostgreSQL | {head} |", "| --- |" + " --- |" * len(shared)]
        for n in (1, 2, 4):
            rates = " | ".join(f"{of[n]['steps_per_second']:,.0f}" for of in shared.values())
            lines.append(f"| {n} | {rates} |")
    return "\n".join(lines)


def plot(growth: dict[int, dict[str, float]]) -> str:
    """Durable steps a second over the size of the fleet, as SVG."""
    width, height, left, bottom = 560, 260, 60, 40
    top = max(g["steps_per_second"] for g in growth.values()) * 1.2
    sizes = sorted(growth)

    def x(n: int) -> float:
        low, high = math.log10(sizes[0]), math.log10(sizes[-1])
        return left + (width - left - 40) * (math.log10(n) - low) / (high - low)

    def y(rate: float) -> float:
        return 10 + (height - bottom - 10) * (1 - rate / top)

    points = " ".join(f"{x(n):.0f},{y(growth[n]['steps_per_second']):.0f}" for n in sizes)
    dots = "".join(
        f"<circle cx='{x(n):.0f}' cy='{y(growth[n]['steps_per_second']):.0f}' r='4' fill='#0969da'/>"
        f"<text x='{x(n):.0f}' y='{y(growth[n]['steps_per_second']) - 10:.0f}' text-anchor='middle'>"
        f"{growth[n]['steps_per_second']:,.0f}</text>"
        f"<text x='{x(n):.0f}' y='{height - 14}' text-anchor='middle'>{n:,} numbers</text>"
        for n in sizes
    )
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' font-family='system-ui' font-size='12' "
        "fill='#57606a'><title>Durable steps a second over the size of the fleet</title>"
        f"<rect width='{width}' height='{height}' fill='white'/>"
        f"<polyline points='{points}' fill='none' stroke='#0969da' stroke-width='2'/>{dots}</svg>\n"
    )
