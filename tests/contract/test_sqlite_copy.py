"""Copies of a SQLite file: what is refused, and that nothing half-made is left."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from perdure_server.storage.port import StoreError
from perdure_server.storage.sql import sqlite_copy
from perdure_server.storage.sql.sqlite_copy import change_epoch, inspect_copy, put_in_place, take_copy
from tests.contract.bindings import SQLITE
from tests.contract.builders import committed, start

MOST_WRITES = 100


def quiet(left: int, total: int) -> None:
    """Progress that nobody looks at."""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with a run."""
    opened = SQLITE.open(tmp_path)
    committed(opened, start("a"))
    opened.close()
    return tmp_path / "runs.db"


def damage(path: Path) -> None:
    """Overwrites a page in the middle, so that only a look at all pages finds it."""
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2 // 4096 * 4096)
        file.write(b"\xff" * 4096)


def make_newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()


def make_foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA application_id = 1")


def make_text(path: Path) -> None:
    path.write_text("no database at all, but long enough to be read as one" * 100)


@pytest.mark.parametrize(
    ("harm", "problem"),
    [
        (damage, "damaged|not a usable store|malformed"),
        (make_newer, "made by a newer Perdure"),
        (make_foreign, "not a Perdure store"),
        (make_text, "not a usable store"),
        (Path.unlink, "there is no"),
    ],
)
def test_a_copy_that_cannot_be_used_is_refused_and_the_target_left_alone(
    store: Path, tmp_path: Path, harm: Callable[[Path], None], problem: str
) -> None:
    copy, target = tmp_path / "copy", tmp_path / "target.db"
    take_copy(store, copy, quiet)
    harm(copy)
    before = {path.name for path in tmp_path.iterdir()}
    with pytest.raises(StoreError, match=problem):
        put_in_place(copy, target, "e" * 32, quiet)
    assert {path.name for path in tmp_path.iterdir()} - before <= {"target.db.lock"}


@pytest.mark.parametrize(
    ("harm", "problem"),
    [
        (make_foreign, "not a Perdure store"),
        (make_text, "cannot copy|not a usable"),
        (Path.unlink, "there is no store"),
    ],
)
def test_what_is_no_store_is_not_copied(
    store: Path, tmp_path: Path, harm: Callable[[Path], None], problem: str
) -> None:
    harm(store)
    with pytest.raises(StoreError, match=problem):
        take_copy(store, tmp_path / "copy", quiet)
    assert not list(tmp_path.glob("copy*"))


def test_a_damaged_store_gives_no_copy(store: Path, tmp_path: Path) -> None:
    damage(store)
    with pytest.raises(StoreError, match=r"damaged|malformed"):
        take_copy(store, tmp_path / "copy", quiet)
    assert not list(tmp_path.glob("copy*"))


def test_a_file_is_never_replaced_by_a_copy(store: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.write_text("precious")
    with pytest.raises(StoreError, match="never replaces"):
        take_copy(store, copy, quiet)
    assert copy.read_text() == "precious"


def test_a_target_in_no_folder_is_named(store: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="nowhere"):
        take_copy(store, tmp_path / "nowhere" / "copy", quiet)


def test_the_store_is_no_copy_of_itself(store: Path) -> None:
    with pytest.raises(StoreError, match="the store itself"):
        put_in_place(store, store, "e" * 32, quiet, replace=True)


def test_a_copy_is_one_instant_however_much_is_written_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two steps of the copying the store gets another record; none of them is in the copy."""
    monkeypatch.setattr(sqlite_copy, "PAGES_A_STEP", 8)
    opened = SQLITE.open(tmp_path)
    committed(opened, start("a"))
    source = tmp_path / "runs.db"
    written: list[int] = []

    def write(left: int, total: int) -> None:
        if len(written) < MOST_WRITES:
            committed(opened, start(f"later-{len(written)}"))
            written.append(left)

    facts = take_copy(source, tmp_path / "copy", write)
    opened.close()
    assert 2 < len(written) < MOST_WRITES
    assert facts.position == 1
    assert inspect_copy(tmp_path / "copy").runs == 1


def test_only_the_epoch_changes(store: Path) -> None:
    before = inspect_copy(store)
    after = change_epoch(store, "e" * 32)
    assert before.epoch != after.epoch == "e" * 32
    assert (before.runs, before.records, before.position) == (after.runs, after.records, after.position)
