"""What the harness makes of samples: quantiles, the best pass, gates, growth, the table."""

from collections.abc import Sequence

import pytest

from tests.bench.gates import gates
from tests.bench.passes import Results
from tests.bench.report import as_json, table
from tests.bench.soak import MemorySample, growth_mib
from tests.bench.subject import BenchError
from tests.bench.workloads import CELLS, Cell, Sample


def sample(subject: str, cell: Cell, rate: float, *, cpu_ms: float = 0.1, legs_ms: Sequence[float] = (1.0,)) -> Sample:
    steps = 1000
    legs = ("start", "resume") if cell.workload == "W2" else ("run",)
    return Sample(
        subject=subject,
        cell=cell,
        seconds=steps / rate,
        runs=100,
        steps=steps,
        server_cpu_s=cpu_ms * steps / 2000,
        worker_cpu_s=cpu_ms * steps / 2000,
        driver_cpu_s=0.01,
        commits=1100,
        transactions=40,
        load_average=0.5,
        latencies_s={leg: sorted(ms / 1000 for ms in legs_ms) for leg in legs},
    )


def results(*samples: Sample) -> Results:
    return Results(list(samples), {"skeleton": 40.0, "perdure": 90.0}, {}, "strace is not installed")


def both(*, rate: float = 0.5, cpu: float = 2.0, leg: float = 2.0) -> Results:
    """Perdure at these multiples of the skeleton's figures, in every cell."""
    samples = [sample("skeleton", cell, 1000, cpu_ms=0.1, legs_ms=[1.0]) for cell in CELLS]
    samples += [sample("perdure", cell, 1000 * rate, cpu_ms=0.1 * cpu, legs_ms=[leg]) for cell in CELLS]
    return results(*samples)


@pytest.mark.parametrize(
    ("quantile", "expected_ms"), [(0.5, 50.0), (0.99, 99.0), (0.991, 100.0), (1.0, 100.0), (0.0, 1.0)]
)
def test_quantile_is_the_nearest_rank(quantile: float, expected_ms: float) -> None:
    measured = sample("skeleton", Cell("W1", 1), 1000, legs_ms=range(1, 101))
    assert measured.quantile_ms("run", quantile) == pytest.approx(expected_ms)


def test_the_best_pass_gives_all_figures_of_a_cell() -> None:
    cell = Cell("W1", 64)
    slow_but_cheap = sample("perdure", cell, 900, cpu_ms=0.05)
    fast = sample("perdure", cell, 1000, cpu_ms=0.20)
    other = sample("skeleton", cell, 5000)
    best = results(slow_but_cheap, fast, other).best("perdure", cell)
    assert best is fast
    assert best.cpu_ms_per_step == pytest.approx(0.20)


def test_gates_hold_exactly_at_their_bounds() -> None:
    held = {gate.name: gate.held for gate in gates(both(rate=0.6, cpu=2.8 - 1e-9, leg=3.0 - 1e-9))}
    assert held == {
        "W1@64 steps/s": True,
        "W1@64 CPU per step": True,
        "W1@1 steps/s": True,
        "W2@1 start leg p50": True,
        "W2@1 resume leg p50": True,
    }


@pytest.mark.parametrize(
    ("multiples", "missed"),
    [
        ({"rate": 0.59}, ["W1@1 steps/s"]),
        ({"rate": 0.34}, ["W1@64 steps/s", "W1@1 steps/s"]),
        ({"rate": 0.7, "cpu": 2.81}, ["W1@64 CPU per step"]),
        ({"rate": 0.7, "leg": 3.1}, ["W2@1 start leg p50", "W2@1 resume leg p50"]),
    ],
)
def test_gates_are_missed_beyond_their_bounds(multiples: dict[str, float], missed: list[str]) -> None:
    found = gates(both(**multiples))
    assert [gate.name for gate in found if not gate.held] == missed
    assert all(gate.sentence().startswith("MISSED") for gate in found if not gate.held)


def test_growth_counts_from_minute_two() -> None:
    samples = [MemorySample(age, rss, 0) for age, rss in ((0, 40), (119, 70), (121, 80), (300, 99), (600, 84.5))]
    assert growth_mib(samples) == pytest.approx(4.5)


def test_growth_needs_two_samples_after_minute_two() -> None:
    with pytest.raises(BenchError, match="two minutes"):
        growth_mib([MemorySample(0, 40, 0), MemorySample(130, 50, 0)])


def test_the_table_has_a_line_per_leg_and_the_ratios() -> None:
    lines = table(both(rate=0.5, cpu=2.0), ["skeleton", "perdure"]).splitlines()
    assert len(lines) == 1 + 2 * (len(CELLS) + 2)
    assert len({len(line) for line in lines}) == 1
    perdure = next(line for line in lines if line.startswith("W1@64") and "perdure" in line)
    assert perdure.split()[-2:] == ["0.50", "2.00"]


def test_json_keeps_every_sample_and_every_gate() -> None:
    measured = both()
    content = as_json(measured, {"processor": "one"}, {"passes": 1}, gates(measured))
    assert len(content["samples"]) == 2 * len(CELLS)
    assert content["sync_note"] == "strace is not installed"
    assert [gate["held"] for gate in content["gates"]] == [True, True, False, True, True]
