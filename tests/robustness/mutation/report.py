"""What a run of mutants tells: the score of each module, and the survivors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.robustness.mutation.execution import Fate
from tests.robustness.mutation.mutants import Mutant


@dataclass(frozen=True)
class Report:
    """What became of mutants.

    Args:
        found: each mutant and its fate.
        excused: mutants that no test can tell from the kernel, with the reason; they did not run.
    """

    found: Sequence[tuple[Mutant, Fate]]
    excused: Mapping[str, str]

    @property
    def survivors(self) -> list[Mutant]:
        """Those that no test has seen, in the order of the source."""
        alive = [mutant for mutant, fate in self.found if fate is Fate.SURVIVED]
        return sorted(alive, key=lambda mutant: (mutant.module, mutant.line, mutant.key))

    @property
    def score(self) -> float:
        """Percent of the mutants that were killed; 0 if none ran."""
        return 100 * (len(self.found) - len(self.survivors)) / max(len(self.found), 1)

    def text(self) -> str:
        """The report, without paths, times and line numbers, so that two of the same code are equal."""
        return "\n".join([self._summary(), "", *self._modules(), "", *self._survivors(), "", *self._excused(), ""])

    def _summary(self) -> str:
        timed_out = sum(fate is Fate.TIMED_OUT for _, fate in self.found)
        return (
            f"{self.score:.1f}% of {len(self.found)} mutants of the kernel are killed by its tests: "
            f"{len(self.survivors)} survive, {timed_out} ended by their time limit"
        )

    def _modules(self) -> list[str]:
        totals = Counter(_stem(mutant) for mutant, _ in self.found)
        alive = Counter(_stem(mutant) for mutant in self.survivors)
        return [
            f"  {module:12} {total - alive[module]:5} of {total:5} killed  {100 * (1 - alive[module] / total):5.1f}%"
            for module, total in sorted(totals.items())
        ]

    def _survivors(self) -> list[str]:
        return ["survivors", *(f"  {mutant.key}" for mutant in self.survivors)] if self.survivors else ["no survivors"]

    def _excused(self) -> list[str]:
        reasons = [f"  {key}\n      {reason}" for key, reason in sorted(self.excused.items())]
        return ["no test can tell these from the kernel", *reasons] if reasons else ["none is excused"]


def _stem(mutant: Mutant) -> str:
    return mutant.module.rpartition(".")[2]
