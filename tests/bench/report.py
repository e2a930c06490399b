"""Results as a table for people and as JSON for the next comparison."""

from collections.abc import Mapping, Sequence
from typing import Any

from tests.bench.gates import Gate
from tests.bench.passes import Results
from tests.bench.workloads import CELLS, Cell, Sample

_BASELINE = "skeleton"
_COLUMNS = (
    "cell",
    "subject",
    "steps/s",
    "[passes]",
    "runs/s",
    "CPU-ms/step",
    "server+worker",
    "driver",
    "p50 ms",
    "p99 ms",
    "commits/step",
    "tx/step",
    "syncs/step",
    "rate",
    "CPU",
)


def table(results: Results, subjects: Sequence[str]) -> str:
    """One line per cell and subject (W2: one per leg), best of all passes, ratios to the skeleton last."""
    rows: list[tuple[str, ...]] = [_COLUMNS]
    for cell in CELLS:
        for subject in subjects:
            rows.extend(_rows(results, subject, cell, _BASELINE in subjects))
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    return "\n".join(
        "  ".join(text.ljust(width) if i < 2 else text.rjust(width) for i, (text, width) in enumerate(pairs))
        for pairs in (list(zip(row, widths, strict=True)) for row in rows)
    )


def _rows(results: Results, subject: str, cell: Cell, with_baseline: bool) -> list[tuple[str, ...]]:
    best = results.best(subject, cell)
    base = results.best(_BASELINE, cell) if with_baseline else None
    rates = [sample.steps_per_s for sample in results.of(subject, cell)]
    syncs = results.sync_calls_per_step.get((subject, cell.label))
    first, *others = best.latencies_s
    head = (
        f"{cell.label} {first}",
        subject,
        f"{best.steps_per_s:,.0f}",
        f"[{min(rates):,.0f}-{max(rates):,.0f}]",
        f"{best.runs_per_s:,.0f}",
        f"{best.cpu_ms_per_step:.3f}",
        f"{_per_step(best, best.server_cpu_s):.3f}+{_per_step(best, best.worker_cpu_s):.3f}",
        f"{_per_step(best, best.driver_cpu_s):.3f}",
        *_quantiles(best, first),
        f"{best.commits / best.steps:.2f}",
        f"{best.transactions / best.steps:.3f}",
        "" if syncs is None else f"{syncs:.3f}",
        "" if base is None else f"{best.steps_per_s / base.steps_per_s:.2f}",
        "" if base is None else f"{best.cpu_ms_per_step / base.cpu_ms_per_step:.2f}",
    )
    blank = [""] * 6
    rest = [(f"{cell.label} {leg}", subject, *blank, *_quantiles(best, leg), *[""] * 5) for leg in others]
    return [head, *rest]


def _quantiles(sample: Sample, leg: str) -> tuple[str, str]:
    return f"{sample.quantile_ms(leg, 0.5):.2f}", f"{sample.quantile_ms(leg, 0.99):.2f}"


def _per_step(sample: Sample, cpu_s: float) -> float:
    return cpu_s * 1000 / sample.steps


def as_json(
    results: Results, machine: Mapping[str, str], plan: Mapping[str, float], held: Sequence[Gate]
) -> dict[str, Any]:
    """Every sample, the machine, and the gates; units are in the names."""
    return {
        "machine": dict(machine),
        "plan": dict(plan),
        "samples": [_sample_json(sample) for sample in results.samples],
        "server_peak_rss_mib": {name: round(mib, 1) for name, mib in results.peak_rss_mib.items()},
        "sync_calls_per_step": [
            {"subject": subject, "cell": cell, "calls": round(calls, 4)}
            for (subject, cell), calls in results.sync_calls_per_step.items()
        ],
        "sync_note": results.sync_note,
        "gates": [
            {"name": gate.name, "measured": round(gate.measured, 4), "bound": gate.bound, "held": gate.held}
            for gate in held
        ],
    }


def _sample_json(sample: Sample) -> dict[str, Any]:
    return {
        "subject": sample.subject,
        "workload": sample.cell.workload,
        "in_flight": sample.cell.in_flight,
        "seconds": round(sample.seconds, 3),
        "runs": sample.runs,
        "steps": sample.steps,
        "steps_per_s": round(sample.steps_per_s, 1),
        "server_cpu_ms_per_step": round(_per_step(sample, sample.server_cpu_s), 4),
        "worker_cpu_ms_per_step": round(_per_step(sample, sample.worker_cpu_s), 4),
        "driver_cpu_ms_per_step": round(_per_step(sample, sample.driver_cpu_s), 4),
        "commits_per_step": round(sample.commits / sample.steps, 4),
        "transactions_per_step": round(sample.transactions / sample.steps, 4),
        "load_average": round(sample.load_average, 2),
        "latency_ms": {
            leg: {
                "p50": round(sample.quantile_ms(leg, 0.5), 3),
                "p99": round(sample.quantile_ms(leg, 0.99), 3),
            }
            for leg in sample.latencies_s
        },
    }
