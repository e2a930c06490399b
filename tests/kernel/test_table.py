"""`decide` against the expected table: every input in every state, paused and not."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from perdure_server.kernel.decide import decide
from perdure_server.kernel.decision import Ack, Env, Reason, Rejection
from perdure_server.kernel.evolve import evolve
from perdure_server.kernel.inputs import Input, StartRun
from perdure_server.kernel.model import Activity, RunState, RunStatus
from perdure_server.kernel.obligations import obligations
from perdure_server.kernel.records import LateResult, RecordKind
from perdure_server.kernel.table import Row
from tests.kernel.expected_table import GROUPS, ROWS
from tests.kernel.ledgers import AT, CANONICAL, DAY_US, HORIZON, canonical_ledger, fold, spec_of
from tests.kernel.scene import Scene, leaf
from tests.kernel.table_inputs import INPUTS, REPORT

ACTIVITY_OF_ROW = {
    **{row: row.split("_", maxsplit=1)[0] for row in ROWS if row.split("_", maxsplit=1)[0] in Activity.__members__},
    "CANCELLING": "QUEUED",
    "ENDED_COMPLETED": "NONE",
    "ENDED_CANCELLED": "NONE",
    "ENDED_DEADLINE": "NONE",
    "ENDED_FAILED": "NONE",
    "ENDED_IN_DOUBT": "NONE",
}


@dataclass(frozen=True)
class Cell:
    """One expectation. `reason` None: the input is accepted."""

    row: str
    variant: str
    paused: bool
    reason: Reason | None
    kinds: tuple[str, ...]
    status: str
    activity: str
    paused_after: bool
    ack: Ack

    def __str__(self) -> str:
        return f"{self.row}-{'paused' if self.paused else 'free'}-{self.variant}"


def _cell(row: str, variant: str, paused: bool, outcome: str) -> Cell:
    if outcome in Reason.__members__:
        return Cell(row, variant, paused, Reason[outcome], (), "", "", paused, Ack.ACCEPTED)
    kinds, _, after = outcome.partition(">")
    words = (after or kinds).split()
    held = paused
    ack = Ack.ACCEPTED
    for word in words:
        held = {"held": True, "free": False}.get(word, held)
        ack = {"stale": Ack.STALE, "duplicate": Ack.DUPLICATE}.get(word, ack)
    if not after:
        assert words[0] == "nothing", f"{row} {variant}: {outcome!r} is neither a reason nor an outcome"
        return Cell(row, variant, paused, None, (), "", "", held, ack)
    return Cell(row, variant, paused, None, tuple(kinds.split()), words[0], words[1], held, ack)


def _lines(block: str) -> Iterator[tuple[str, str, str]]:
    for line in block.strip().splitlines():
        name, _, outcomes = line.partition("#")[0].partition(":")
        free, _, paused = outcomes.partition("|")
        yield name.strip(), free.strip(), free.strip() if paused.strip() == "=" else paused.strip()


def expected_cells() -> Iterator[Cell]:
    """The table, one cell at a time; a line of its own goes before its group's."""
    for row, block in ROWS.items():
        found: dict[str, tuple[str, str]] = {}
        lines = list(_lines(block))
        for group, free, paused in lines:
            found |= dict.fromkeys(GROUPS.get(group, ()), (free, paused))
        own = {name: (free, paused) for name, free, paused in lines if name not in GROUPS}
        assert len(own) == sum(name not in GROUPS for name, _, _ in lines), f"{row}: a line stands twice"
        found |= own
        for variant, (free, paused) in found.items():
            yield _cell(row, variant, False, free)
            if paused:
                yield _cell(row, variant, True, paused)


CELLS = tuple(expected_cells())


def is_end(row: str) -> bool:
    """Whether a row is one of an ended run, which is never paused."""
    return row.startswith("ENDED")


def _given(cell: Cell) -> tuple[RunState | None, Input]:
    fitting = None if cell.row == "NONE" else fold(canonical_ledger(cell.row, paused=False))
    event = INPUTS[cell.variant](fitting)
    run = None if fitting is None else fold(canonical_ledger(cell.row, paused=cell.paused))
    return run, event


def _env(row: str) -> Env:
    return Env(now=AT + 3 * DAY_US, spec=spec_of(row), horizon=HORIZON, new_id=lambda: "child-1")


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_the_outcome_is_the_one_in_the_table(cell: Cell) -> None:
    run, event = _given(cell)
    if cell.reason is not None:
        with pytest.raises(Rejection) as refused:
            decide(run, event, _env(cell.row))
        assert refused.value.reason is cell.reason
        assert refused.value.message
        return
    decision = decide(run, event, _env(cell.row))
    assert tuple(record.kind.name.lower() for record in decision.records) == cell.kinds
    assert decision.ack is cell.ack
    if cell.kinds:
        assert (decision.run.status.name, decision.run.activity.name) == (cell.status, cell.activity)
    else:
        assert decision.run == run
    assert decision.run.paused is cell.paused_after


@pytest.mark.promise("P1")
@pytest.mark.promise("P3")
@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell.kinds], ids=str)
def test_the_new_state_is_the_fold_of_the_old_ledger_and_the_new_records(cell: Cell) -> None:
    run, event = _given(cell)
    decision = decide(run, event, _env(cell.row))
    before = [] if run is None else canonical_ledger(cell.row, paused=cell.paused)
    assert fold([*before, *decision.records]) == decision.run
    assert [record.seq for record in decision.records] == list(
        range(len(before) + 1, len(before) + 1 + len(decision.records))
    )


@pytest.mark.promise("P6")
@pytest.mark.parametrize("cell", [cell for cell in CELLS if "late_result" in cell.kinds], ids=str)
def test_a_late_report_is_kept_as_it_was_sent_and_changes_nothing_else(cell: Cell) -> None:
    run, event = _given(cell)
    assert run is not None
    decision = decide(run, event, _env(cell.row))
    body = decision.records[0].body
    assert isinstance(body, LateResult)
    assert body.report == REPORT
    changed = {name for name, value in vars(decision.run).items() if value != vars(run)[name]}
    assert changed <= {"seq", "updated_at", "abandoned"}, "`abandoned` is how a second report is known to be one"


def test_the_table_holds_every_input_in_every_state() -> None:
    every = set(INPUTS)
    assert {variant.partition("/")[0] for variant in every} == {kind.__name__ for kind in typing.get_args(Input)}
    assert set(ROWS) == {"NONE", *CANONICAL}
    for row in ROWS:
        for paused in (False, True) if row in CANONICAL and not is_end(row) else (False,):
            there = [cell.variant for cell in CELLS if cell.row == row and cell.paused is paused]
            assert sorted(there) == sorted(every), (row, paused)


def test_the_rows_cover_every_activity() -> None:
    assert set(ACTIVITY_OF_ROW.values()) == set(Activity.__members__)


@pytest.mark.promise("P7")
@pytest.mark.parametrize(
    ("row", "paused"), [(row, paused) for row in CANONICAL for paused in (False, True) if not (paused and is_end(row))]
)
def test_a_hand_written_ledger_folds_to_the_state_its_row_names(row: str, paused: bool) -> None:
    run = fold(canonical_ledger(row, paused=paused))
    assert run.activity.name == ACTIVITY_OF_ROW[row]
    assert run.ended is is_end(row)
    assert run.paused is paused
    assert (run.status is RunStatus.WAITING) is (run.activity is Activity.WAITING)
    assert run.seq == len(canonical_ledger(row, paused=paused))
    if run.ended:
        assert obligations(run) == type(obligations(run))()


@pytest.mark.promise("P3")
@pytest.mark.parametrize("row", CANONICAL)
def test_folding_leaves_every_earlier_state_as_it_was(row: str) -> None:
    records = canonical_ledger(row, paused=False)
    run: RunState | None = None
    seen: list[RunState] = []
    for record in records:
        run = evolve(run, record)
        seen.append(run)
    assert [fold(records[: number + 1]) for number in range(len(records))] == seen


def test_every_record_kind_appears_in_the_table() -> None:
    kinds = {kind for cell in CELLS for kind in cell.kinds}
    missing = {kind.name.lower() for kind in RecordKind} - kinds
    assert missing == {"waiting", "cancel_requested", "completed"}, "shown by the tests of waits, cancels and steps"


def test_a_taken_run_id_is_blamed_by_its_field() -> None:
    refused = Scene().start().refused(StartRun("default", "run-1", leaf({})))
    assert (refused.reason, refused.field) == (Reason.RUN_EXISTS, "run_id")


def test_a_row_is_called_by_its_name() -> None:
    assert [row.value for row in Row] == [row.name.lower() for row in Row]
