"""What a client has been told of runs: no server shall show it an older state.

Replicas of a server share a store, and each has a view of its own. For a moment one of them may not know yet what
another one has acknowledged, unless it is told of which seq the caller knows (`min_seq` of WaitRun).
"""

from __future__ import annotations

from collections import OrderedDict

MAX_RUNS = 10_000


class ToldRuns:
    """The highest seq that answers have named, by run.

    Args:
        max_runs: so many runs are kept; the one that was heard of least recently is forgotten first.
    """

    def __init__(self, max_runs: int = MAX_RUNS) -> None:
        self._max_runs = max_runs
        self._seqs: OrderedDict[str, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._seqs)

    def seq_of(self, run_id: str) -> int:
        """The seq; 0 if nothing is known of the run."""
        return self._seqs.get(run_id, 0)

    def hear(self, run_id: str, seq: int) -> None:
        """An answer has named this seq."""
        self._seqs[run_id] = max(seq, self.seq_of(run_id))
        self._seqs.move_to_end(run_id)
        if len(self._seqs) > self._max_runs:
            self._seqs.popitem(last=False)

    def hear_state(self, run_id: str, seq: int, wanted: int) -> None:
        """A server that was asked for a seq has answered with a state.

        If that is older, the store no longer holds what it once acknowledged (a backup was restored): what was
        known of the run before is forgotten.
        """
        if seq < wanted:
            self._seqs.pop(run_id, None)
        self.hear(run_id, seq)
