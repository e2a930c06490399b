"""Another epoch for a journal: a line among the others, which everything after it goes on from."""

from __future__ import annotations

from pathlib import Path

import pytest

from perdure_server.storage.journal.epoch import change_epoch
from perdure_server.storage.journal.files import segment_name
from perdure_server.storage.port import StoreError
from tests.contract.bindings import EPOCH, genesis
from tests.contract.builders import committed, start
from tests.contract.journals import ONE_FILE, SMALL, everything, opened

OTHER, THIRD = "f" * 32, "e" * 32


def test_the_data_is_the_same_and_the_epoch_another(tmp_path: Path) -> None:
    store = opened(tmp_path)
    committed(store, start("r1"))
    before = everything(store)
    store.close()
    for epoch in (OTHER, THIRD):
        change_epoch(tmp_path, genesis, epoch)
    store = opened(tmp_path)
    assert store.info().epoch == THIRD
    assert everything(store) == before
    committed(store, start("r2"))
    store.close()


def test_new_files_and_snapshots_go_on_under_it(tmp_path: Path) -> None:
    store = opened(tmp_path, SMALL)
    for number in range(4):
        committed(store, start(f"a{number}"))
    store.close()
    change_epoch(tmp_path, genesis, OTHER)
    for epoch in (OTHER, THIRD):
        store = opened(tmp_path, SMALL)
        for number in range(40):
            committed(store, start(f"{epoch[0]}{number}"))
        store.compaction.wait()
        expected = everything(store)
        store.close()
        store = opened(tmp_path, SMALL)
        assert store.info().epoch == epoch
        assert everything(store) == expected
        store.close()
        assert not (tmp_path / segment_name(1)).exists()
        change_epoch(tmp_path, genesis, THIRD)


def test_a_last_line_that_was_broken_off_is_cut_first(tmp_path: Path) -> None:
    store = opened(tmp_path)
    committed(store, start("r1"))
    kept = everything(store)
    committed(store, start("r2"))
    store.close()
    file = tmp_path / segment_name(1)
    with file.open("r+b") as open_file:
        open_file.truncate(file.stat().st_size - 20)
    change_epoch(tmp_path, genesis, OTHER)
    store = opened(tmp_path, ONE_FILE, epoch=EPOCH)
    assert store.info().epoch == OTHER
    assert everything(store) == kept
    store.close()


def test_a_journal_that_is_damaged_in_use_or_not_there_is_refused(tmp_path: Path) -> None:
    store = opened(tmp_path)
    committed(store, start("r1"))
    with pytest.raises(StoreError, match="in use"):
        change_epoch(tmp_path, genesis, OTHER)
    store.close()
    file = tmp_path / segment_name(1)
    data = file.read_bytes()
    file.write_bytes(data.replace(b'"r1"', b'"r2"', 1))
    with pytest.raises(StoreError, match="line 2"):
        change_epoch(tmp_path, genesis, OTHER)
    file.write_bytes(data)
    for folder in (tmp_path / "none", file):
        with pytest.raises(StoreError, match="there is no journal"):
            change_epoch(folder, genesis, OTHER)
    store = opened(tmp_path)
    assert store.info().epoch == EPOCH
    store.close()
