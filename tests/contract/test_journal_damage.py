"""A journal that a crash broke off starts again without what was never confirmed; one that was changed by anything
else is refused, by file and line."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from perdure_server.storage.journal.chain import START, TAIL_BYTES, seal, sum_of
from perdure_server.storage.port import Commit, RunQuery, Store, StoreError
from tests.contract.builders import DEFAULT, committed, event, put_timers, request, start, step
from tests.contract.journals import SMALL, everything, opened

FIRST = "journal-000001.jsonl"


def made(folder: Path) -> list[dict[str, Any]]:
    """A journal of four batches in one file; what it held after each of them."""
    store = opened(folder)
    batches: list[list[Commit]] = [
        [start("r1"), start("r2", change=put_timers((1, 5)))],
        [step("r1", 1, events=(event("e1"),))],
        [step("r2", 1, count=2, request=request("q1"))],
        [step("r1", 2), step("r2", 3), start("r3")],
    ]
    held = [everything(store)]
    for batch in batches:
        committed(store, *batch)
        held.append(everything(store))
    store.close()
    return held


def lines_of(path: Path) -> list[bytes]:
    """Lines of a file, with their ends."""
    return path.read_bytes().splitlines(keepends=True)


def refused(folder: Path, pattern: str) -> None:
    """The journal is refused in these words, twice, and is what it was."""
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "lock"}
    for _ in range(2):
        with pytest.raises(StoreError, match=pattern):
            opened(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "lock"} == before


@pytest.mark.promise("P2")
def test_the_last_line_broken_off_anywhere_is_cut_and_the_journal_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = tmp_path / "source"
    made(source)
    data = (source / FIRST).read_bytes()
    last = len(lines_of(source / FIRST)[-1])
    for cut in range(1, last + 1):
        folder = tmp_path / f"cut{cut}"
        folder.mkdir()
        (folder / FIRST).write_bytes(data[: len(data) - cut])
        caplog.clear()
        store = opened(folder)
        runs = {run.identity.run_id for run in store.list_runs(RunQuery(DEFAULT), None, 9)}
        # Without its line end alone, a line is all there; without the whole line there is nothing to cut.
        assert runs == ({"r1", "r2", "r3"} if cut == 1 else {"r1", "r2"}), cut
        assert ("never confirmed" in caplog.text) == (1 < cut < last), cut
        committed(store, start("r4"))
        now = everything(store)
        store.close()
        again = opened(folder)
        assert everything(again) == now
        again.close()
        shutil.rmtree(folder)


def test_a_batch_broken_off_twice(tmp_path: Path) -> None:
    """What the first crash left of its batch stays a batch of its own."""
    held = made(tmp_path)
    path = tmp_path / FIRST
    path.write_bytes(path.read_bytes()[:-10])
    opened(tmp_path).close()
    store = opened(tmp_path)
    whole = everything(store)
    committed(store, start("x1"), start("x2"))
    store.close()
    data = bytearray(path.read_bytes())
    start_of_last_batch = data.rindex(b'{"line":', 0, data.rindex(b'{"line":'))
    data[start_of_last_batch + 20 : start_of_last_batch + 60] = bytes(40)
    path.write_bytes(data)
    store = opened(tmp_path)
    assert everything(store) == whole
    assert whole != held[-1]
    store.close()


@pytest.mark.parametrize(("first", "last"), [(5, 5), (5, 6), (6, 6), (7, 7), (5, 7)])
def test_a_hole_of_zeros_in_the_last_batch_is_what_a_power_cut_leaves(tmp_path: Path, first: int, last: int) -> None:
    held = made(tmp_path)
    lines = lines_of(tmp_path / FIRST)
    assert len(lines) == 8
    lines[first - 0 : last + 1] = [bytes(len(line)) for line in lines[first : last + 1]]
    (tmp_path / FIRST).write_bytes(b"".join(lines))
    store = opened(tmp_path)
    if first == 5:
        assert everything(store) == held[3]
    store.close()


@pytest.mark.parametrize("line", [2, 3, 4])
def test_a_hole_of_zeros_in_what_was_confirmed_is_refused(tmp_path: Path, line: int) -> None:
    made(tmp_path)
    lines = lines_of(tmp_path / FIRST)
    lines[line] = bytes(len(lines[line]))
    (tmp_path / FIRST).write_bytes(b"".join(lines))
    refused(tmp_path, rf"{FIRST}, line {line + 1}: it is not a whole line of a journal")


def _edited(lines: list[bytes], at: int) -> None:
    lines[at] = lines[at].replace(b'"position":', b'"position": ', 1) if b"position" in lines[at] else b"{}\n"


def _sealed_anew(lines: list[bytes], at: int) -> None:
    """Changed, with a sum that is right for the line: the next one does not follow it any more."""
    before = sum_of(lines[at - 1]) if at else START
    lines[at] = seal(before, lines[at][:-TAIL_BYTES].replace(b'"line":', b'"line": ', 1))[0]


EDITS: dict[str, Callable[[list[bytes], int], object]] = {
    "edited": _edited,
    "removed": lambda lines, at: lines.pop(at),
    "doubled": lambda lines, at: lines.insert(at, lines[at]),
    "swapped": lambda lines, at: lines.insert(at - 1, lines.pop(at)),
    "emptied": lambda lines, at: lines.__setitem__(at, b"\n"),
    "inserted": lambda lines, at: lines.insert(at, b'{"hello":"world"}\n'),
}


# The end of a file that lost whole lines is that of one that never had them.
@pytest.mark.parametrize(
    ("edit", "at"),
    [(edit, at) for edit in EDITS for at in range(8) if (edit, at) not in {("removed", 7), ("swapped", 0)}],
)
def test_a_line_changed_by_hand_is_refused_by_its_number(tmp_path: Path, edit: str, at: int) -> None:
    made(tmp_path)
    lines = lines_of(tmp_path / FIRST)
    EDITS[edit](lines, at)
    (tmp_path / FIRST).write_bytes(b"".join(lines))
    wrong = {"swapped": at, "doubled": at + 2}.get(edit, at + 1)
    refused(tmp_path, rf"{FIRST}, line {wrong}: .*Restore the journal's folder from a copy")


def test_a_line_sealed_anew_breaks_the_chain_behind_it(tmp_path: Path) -> None:
    made(tmp_path)
    lines = lines_of(tmp_path / FIRST)
    _sealed_anew(lines, 3)
    (tmp_path / FIRST).write_bytes(b"".join(lines))
    refused(tmp_path, rf"{FIRST}, line 5: it was changed after it was written, or lines before it are missing")


def test_what_the_refusal_advises_works(tmp_path: Path) -> None:
    held = made(tmp_path)
    lines = lines_of(tmp_path / FIRST)
    _edited(lines, 4)
    (tmp_path / FIRST).write_bytes(b"".join(lines))
    with pytest.raises(StoreError, match=r"keep the first 4 lines of this file") as error:
        opened(tmp_path)
    kept = int(re.findall(r"first (\d+) lines", str(error.value))[0])
    (tmp_path / FIRST).write_bytes(b"".join(lines[:kept]))
    store = opened(tmp_path)
    assert everything(store) == held[2]
    store.close()


# Several files.


def grown(folder: Path, epoch: str = "e" * 32) -> dict[str, Any]:
    """A journal with a snapshot and several segments after it."""
    store = opened(folder, SMALL, epoch=epoch)
    number = 0
    while not (list(folder.glob("snapshot-*.jsonl")) and len(list(folder.glob("journal-*.jsonl"))) > 3):
        committed(store, start(f"r{number}"), *([step(f"r{number - 1}", 1)] if number else []))
        store.compaction.wait()
        number += 1
        assert number < 200
    found = everything(store)
    store.close()
    return found


def segments(folder: Path) -> list[Path]:
    """Segment files, ascending."""
    return sorted(folder.glob("journal-*.jsonl"))


@pytest.mark.parametrize("which", [0, 1, -1])
def test_a_missing_segment_is_named(tmp_path: Path, which: int) -> None:
    grown(tmp_path)
    gone = segments(tmp_path)[which]
    gone.unlink()
    refused(tmp_path, rf"{gone.name} is missing. Restore it from a copy")


def test_a_missing_snapshot_is_a_missing_beginning(tmp_path: Path) -> None:
    grown(tmp_path)
    for path in tmp_path.glob("snapshot-*"):
        path.unlink()
    refused(tmp_path, r"journal-000001.jsonl is missing")


def test_a_segment_of_another_journal_is_refused(tmp_path: Path) -> None:
    grown(tmp_path / "one")
    grown(tmp_path / "two", epoch="f" * 32)
    target = segments(tmp_path / "one")[1]
    shutil.copy(tmp_path / "two" / target.name, target)
    refused(tmp_path / "one", rf"{target.name}, line 1: the file before it is not the one that it follows")


def test_a_first_segment_with_another_epoch_is_refused(tmp_path: Path) -> None:
    """Though its chain is right: nobody's sums protect against somebody who computes them anew."""
    made(tmp_path)
    store = opened(tmp_path)
    assert store.info().epoch != "f" * 32
    store.close()
    grown(tmp_path / "two", epoch="f" * 32)
    snapshot = next((tmp_path / "two").glob("snapshot-*"))
    last = segments(tmp_path / "two")[0]
    row = json.loads(lines_of(last)[0])
    row.pop("sum")
    row["epoch"] = "a" * 32
    text = json.dumps(row, separators=(",", ":"))[:-1].encode()
    last.write_bytes(seal(row["previous"].encode(), text)[0])
    refused(tmp_path / "two", rf"{last.name}, line 1: it is of another journal \(epoch a+, this one is f+\)")
    assert snapshot.exists()


@pytest.mark.parametrize("at", [0, 1, 2, -2, -1])
@pytest.mark.parametrize("edit", ["edited", "removed", "doubled"])
def test_a_snapshot_changed_by_hand_is_refused(tmp_path: Path, edit: str, at: int) -> None:
    grown(tmp_path)
    path = next(tmp_path.glob("snapshot-*.jsonl"))
    lines = lines_of(path)
    EDITS[edit](lines, at % len(lines))
    path.write_bytes(b"".join(lines))
    refused(tmp_path, rf"{path.name}, line \d+: (?!.*keep the first).*Restore the journal's folder from a copy")


@pytest.mark.parametrize("kind", ["snapshot", "journal"])
def test_a_newer_format_is_refused(tmp_path: Path, kind: str) -> None:
    grown(tmp_path)
    path = sorted(tmp_path.glob(f"{kind}-*.jsonl"))[0]
    lines = lines_of(path)
    before = START if kind == "snapshot" else json.loads(lines[0])["previous"].encode()
    lines[0] = seal(before, lines[0][:-TAIL_BYTES].replace(b'"format":1', b'"format":2'))[0]
    path.write_bytes(b"".join(lines))
    refused(tmp_path, rf"{path.name} has format 2, made by a newer Perdure; this version reads up to 1")


def test_a_line_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    made(tmp_path)
    path = tmp_path / FIRST
    last = sum_of(lines_of(path)[-1])
    line = seal(last, b'{"line":9,"batch":9,"of":[0,1],"type":"miracle"')[0]
    path.write_bytes(path.read_bytes() + line)
    refused(tmp_path, rf"{FIRST}, line 9: its type 'miracle' is not known: it was made by a newer Perdure")


def test_a_file_in_the_folders_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "journal").write_text("Dear diary")
    with pytest.raises(StoreError, match="is a file: a journal is a folder"):
        opened(tmp_path / "journal")


def test_a_folder_of_other_things_is_refused_untouched(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("Dear diary")
    with pytest.raises(StoreError, match=r"holds other things \(precious\) and no journal"):
        opened(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_folders_on_the_way_are_made(tmp_path: Path) -> None:
    store: Store = opened(tmp_path / "a" / "b" / "c")
    committed(store, start("r1"))
    store.close()
    assert (tmp_path / "a" / "b" / "c" / FIRST).exists()
