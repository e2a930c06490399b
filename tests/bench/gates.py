"""The ratios to the skeleton that a release must hold."""

from dataclasses import dataclass

from tests.bench.passes import Results
from tests.bench.workloads import Cell

SOAK_GROWTH_LIMIT_MIB = 10.0


@dataclass(frozen=True)
class Gate:
    """One ratio and its bound."""

    name: str
    measured: float
    bound: float
    at_least: bool

    @property
    def held(self) -> bool:
        """True when the ratio is on the right side of its bound."""
        return self.measured >= self.bound if self.at_least else self.measured <= self.bound

    def sentence(self) -> str:
        """For the report."""
        relation = "at least" if self.at_least else "at most"
        verdict = "held" if self.held else "MISSED"
        return f"{verdict:<6} {self.name}: {self.measured:.2f} of the skeleton's, {relation} {self.bound:g}"


def gates(results: Results) -> list[Gate]:
    """All gates on speed; needs samples of both subjects."""
    one, many, wait = Cell("W1", 1), Cell("W1", 64), Cell("W2", 1)
    found = [
        Gate("W1@64 steps/s", _ratio(results, many, "rate"), 0.35, at_least=True),
        Gate("W1@64 CPU per step", _ratio(results, many, "cpu"), 2.8, at_least=False),
        Gate("W1@1 steps/s", _ratio(results, one, "rate"), 0.6, at_least=True),
    ]
    ours, base = results.best("perdure", wait), results.best("skeleton", wait)
    unit = (base.quantile_ms("start", 0.5) + base.quantile_ms("resume", 0.5)) / 2
    found += [
        Gate(f"W2@1 {leg} leg p50", ours.quantile_ms(leg, 0.5) / unit, 3.0, at_least=False)
        for leg in ("start", "resume")
    ]
    return found


def _ratio(results: Results, cell: Cell, figure: str) -> float:
    ours, base = results.best("perdure", cell), results.best("skeleton", cell)
    if figure == "rate":
        return ours.steps_per_s / base.steps_per_s
    return ours.cpu_ms_per_step / base.cpu_ms_per_step
