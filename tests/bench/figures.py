"""Figures of the cells that are measured once, and the bounds that some of them have."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One measured number. `at_most`: its gate, if it has one."""

    name: str
    value: float
    unit: str
    at_most: float | None = None

    @property
    def held(self) -> bool:
        """Within its bound, or without one."""
        return self.at_most is None or self.value <= self.at_most

    def line(self) -> str:
        """For the report."""
        gate = "" if self.at_most is None else f"  {'held' if self.held else 'MISSED'}: at most {self.at_most:g}"
        return f"{self.name:<52} {self.value:>12,.2f} {self.unit}{gate}"


def quantile(values: Sequence[float], part: float) -> float:
    """Nearest-rank quantile."""
    ordered = sorted(values)
    return ordered[max(1, -(-int(part * 1000) * len(ordered) // 1000)) - 1]
