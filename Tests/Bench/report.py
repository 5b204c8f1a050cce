"""Ratios of paired samples, and the tables made of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from workloads import BASE, GROWTH, ONE_WORKER, RULES, TWO_WORKERS, Sample, Variant, Workload

Round = dict[str, Sample]
"""Samples of one workload in one round, by subject."""


@dataclass(frozen=True)
class Ratio:
    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: list[float]) -> Ratio:
        return cls(median(values), min(values), max(values))

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.least:.2f}–{self.most:.2f})"


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def shown_cost(cost: float, workload: Workload) -> str:
    divisor = 1 if workload.measure == "memory" else 1e6 if workload.unit.startswith("ms") else 1e3
    return number(cost / divisor)


def median_cost(rounds: list[Round], subject: str, workload: Workload) -> float | None:
    costs = [workload.cost(samples[subject]) for samples in rounds if subject in samples]
    return median(costs) if costs else None


Measure = Callable[[Sample], float]
"""What is compared of two samples: a cost, or a latency."""

# Latencies are known to 1.6 %, and share a core with the load: no worse means not by more than this.
LATENCY_TOLERANCE = 1.05
# Of a million datagrams so many may be lost before it counts.
LOSS_TOLERANCE = 100e-6


def better_peer(rounds: list[Round], workload: Workload, measure: Measure) -> str | None:
    """Of the workload's rivals the one that has least of it."""
    known = {
        peer: median(measure(samples[peer]) for samples in rounds if peer in samples)
        for peer in workload.rivals if any(peer in samples for samples in rounds)}
    return min(known, key=known.__getitem__) if known else None


def paired(rounds: list[Round], workload: Workload, subject: str, measure: Measure) -> Ratio | None:
    """The subject as a ratio to the better peer in the same round."""
    peer = better_peer(rounds, workload, measure)
    ratios = [
        measure(samples[subject]) / max(measure(samples[peer]), 1e-9)
        for samples in rounds if peer and subject in samples and peer in samples]
    return Ratio.of(ratios) if ratios else None


def loss(rounds: list[Round], subject: str) -> float:
    samples = [one[subject] for one in rounds if subject in one]
    return sum(one.lost for one in samples) / max(1, sum(one.units for one in samples))


def is_met(workload: Workload, rounds: list[Round]) -> bool:
    """The cost, the latency where it is asked for, nothing lost that peers deliver, and no failure."""
    ratio = paired(rounds, workload, "weir", workload.cost)
    latency = paired(rounds, workload, "weir", p99) if workload.compares_latency else None
    lost = loss(rounds, "weir")
    return (
        ratio is not None and workload.goal is not None and ratio.median <= workload.goal
        and (latency is None or latency.median <= LATENCY_TOLERANCE)
        and lost <= LOSS_TOLERANCE + loss(rounds, better_peer(rounds, workload, workload.cost) or "weir")
        and not any(samples["weir"].errors for samples in rounds if "weir" in samples))


def p99(sample: Sample) -> float:
    return sample.p99_us


def verdict(ratio: float, goal: float | None, *, is_least: bool = False) -> str:
    if goal is None:
        return ""
    return "yes" if (ratio >= goal if is_least else ratio <= goal) else "**no**"


def summary(workload: Workload, rounds: list[Round], subjects: list[str]) -> dict:
    """One workload's result, for the file and for --compare."""
    ratios = {subject: paired(rounds, workload, subject, workload.cost) for subject in subjects}
    result: dict = {
        "better_peer": better_peer(rounds, workload, workload.cost), "goal": workload.goal, "unit": workload.unit,
        "is_met": is_met(workload, rounds)}
    for subject in subjects:
        samples = [one[subject] for one in rounds if subject in one]
        if not samples:
            continue
        ratio = ratios[subject]
        result[subject] = {
            "cost": median(workload.cost(sample) for sample in samples),
            "ratio": [ratio.median, ratio.least, ratio.most] if ratio else None,
            "p50_us": median(sample.p50_us for sample in samples),
            "p99_us": median(sample.p99_us for sample in samples),
            "lost": sum(sample.lost for sample in samples), "errors": sum(sample.errors for sample in samples),
            "units_per_second": median(sample.units / sample.seconds for sample in samples)}
    return result


def workload_table(results: dict[str, list[Round]], workloads: list[Workload], subjects: list[str]) -> str:
    # The yardstick and latencies have columns where they are compared at all.
    yardstick = next((one for one in ("floor", "network") if one in subjects), None)
    has_latency = any(workload.compares_latency for workload in workloads)
    heads = ["workload", "unit", *subjects, f"Weir ÷ best of {', '.join(workloads[0].rivals)}"]
    heads += [f"{yardstick} ÷ best"] * bool(yardstick) + ["target"] + ["p99 ÷ best"] * has_latency + ["met"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for workload in workloads:
        rounds = results.get(workload.name)
        if not rounds:
            continue
        costs = [median_cost(rounds, subject, workload) for subject in subjects]
        cells = ["–" if cost is None else shown_cost(cost, workload) for cost in costs]
        ours, plain = (paired(rounds, workload, subject, workload.cost) for subject in ("weir", yardstick or ""))
        latency = paired(rounds, workload, "weir", p99) if workload.compares_latency else None
        met = "" if workload.goal is None else "**no**" if ours is None else "yes" if is_met(workload, rounds) else "**no**"
        goal = f"≤ {workload.goal}" if workload.goal else ""
        cells = [workload.title, workload.unit, *cells, str(ours or "–")]
        cells += [str(plain or "–")] * bool(yardstick) + [goal] + [str(latency or "")] * has_latency + [met]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def service_table(results: dict[str, list[Round]], workloads: list[Workload], subjects: list[str]) -> str:
    """What the clients see: latency, loss, failures."""
    lines = [
        f"| workload: p50 / p99 in µs, lost, failed | {' | '.join(subjects)} |", "|---" * (len(subjects) + 1) + "|"]
    for workload in workloads:
        rounds = results.get(workload.name)
        if not rounds or workload.load[0].startswith("bulk"):
            continue
        cells = []
        for subject in subjects:
            samples = [one[subject] for one in rounds if subject in one]
            if not samples:
                cells.append("–")
                continue
            latency = "{} / {}".format(
                number(median(one.p50_us for one in samples)), number(median(one.p99_us for one in samples)))
            lost, failed = sum(one.lost for one in samples), sum(one.errors for one in samples)
            cells.append(latency + (f", {lost:,} lost" if workload.is_udp else "") + (f", {failed} failed" if failed else ""))
        lines.append(f"| {workload.title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def cost(sample: Sample) -> float:
    return sample.cpu_nanoseconds / sample.units


def variant_rows(rounds: list[Round], variants: list[Variant]) -> list[str]:
    """What a unit costs in each, against the first in the same round."""
    lines = []
    for variant in variants:
        both = [one for one in rounds if variant.name in one and variants[0].name in one]
        if not both:
            continue
        ratio = Ratio.of([cost(one[variant.name]) / cost(one[variants[0].name]) for one in both])
        goal = f"≤ {variant.goal}" if variant.goal else ""
        lines.append(
            f"| {variant.title} | {number(median(cost(one[variant.name]) for one in both) / 1e3)} | {ratio} | {goal} "
            f"| {verdict(ratio.median, variant.goal)} |")
    return lines


def rules_table(rounds: list[Round]) -> str:
    lines = ["| Weir, HTTP/1.1, answers of 64 B | µs/request | ratio to 10 | target | met |", "|---|---|---|---|---|"]
    return "\n".join(lines + variant_rows(rounds, RULES))


def growth_table(rounds: list[Round]) -> str:
    """Cost of a connection against the base case of the same round; for workers, the capacity."""
    lines = ["| Weir, connect and close | µs/connection | ratio to base | target | met |", "|---|---|---|---|---|"]
    lines += variant_rows(rounds, [BASE, *GROWTH])
    both = [one for one in rounds if TWO_WORKERS.name in one and ONE_WORKER.name in one]
    if both:
        def capacity(samples: Round) -> float:
            # Cores are shared with the load here, so that throughput itself says nothing: what counts is
            # what a connection costs, and how evenly the workers share.
            one, two = samples[ONE_WORKER.name], samples[TWO_WORKERS.name]
            return cost(one) / cost(two) * two.cpu_nanoseconds / two.threads[0]

        ratio = Ratio.of([capacity(one) for one in both])
        costs = [median(cost(one[variant.name]) for one in both) / 1e3 for variant in (ONE_WORKER, TWO_WORKERS)]
        lines.append(
            f"| 2 workers against 1 on all cores: connections per CPU second of the busier worker "
            f"| {number(costs[0])} and {number(costs[1])} | {ratio} | ≥ {TWO_WORKERS.goal} "
            f"| {verdict(ratio.median, TWO_WORKERS.goal, is_least=True)} |")
    return "\n".join(lines)


def system_call_table(samples: dict[str, Round], workloads: list[Workload], subjects: list[str]) -> str:
    lines = [f"| system calls per unit | {' | '.join(subjects)} |", "|---" * (len(subjects) + 1) + "|"]
    for workload in workloads:
        row = samples.get(workload.name)
        if not row:
            continue
        cells = []
        for subject in subjects:
            if subject not in row:
                cells.append("–")
                continue
            sample = row[subject]
            units = sample.units / workload.unit_size
            calls = sorted(sample.system_calls.items(), key=lambda call: -call[1])
            parts = [f"{name} {number(count / units)}" for name, count in calls if count / units >= 0.02]
            cells.append(f"**{number(sum(sample.system_calls.values()) / units)}**: {', '.join(parts)}")
        lines.append(f"| {workload.title}, per {workload.unit.split('/')[1]} | {' | '.join(cells)} |")
    return "\n".join(lines)


def comparison_table(now: dict, before: dict) -> str:
    """Ratios to the peers, which a different day or machine changes less than times."""
    lines = ["| workload | Weir ÷ better then | now | change |", "|---|---|---|---|"]
    for name, result in now.items():
        old, new = (side.get("weir", {}).get("ratio") for side in (before.get(name, {}), result))
        if not old or not new:
            continue
        apart = "" if new[1] <= old[2] and old[1] <= new[2] else ", outside the spread of both"
        lines.append(f"| {name} | {Ratio(*old)} | {Ratio(*new)} | {new[0] / old[0] - 1:+.0%}{apart} |")
    return "\n".join(lines)
