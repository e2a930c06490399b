"""What only a store in a folder of files can get wrong: owners, crashes between two system calls, snapshots beside
commits, disks that are full."""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from perdure_server.storage.journal.disk import Disk
from perdure_server.storage.journal.store import Bounds, JournalStore
from perdure_server.storage.port import Store, StoreError
from tests.contract.bindings import JOURNAL, MEMORY, NOW
from tests.contract.builders import committed, event, key, leased_task, put_task, request, start, step
from tests.contract.crashing_disk import ACKNOWLEDGED, IMAGES, RecordingDisk, Replay
from tests.contract.journals import SMALL, everything, opened
from tests.contract.test_differential import Stream
from tests.contract.test_sqlite_file import said, whole_batches

ROOT = Path(__file__).parents[2]


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Starts one of the programs of `ownership` on the folder."""
    started: list[subprocess.Popen[str]] = []

    def start_program(what: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.contract.ownership", what, str(tmp_path), "journal"]
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        started.append(child)
        return child

    yield start_program
    for child in started:
        child.kill()
        child.communicate()


def test_a_second_store_in_this_process_is_refused(tmp_path: Path) -> None:
    first = JOURNAL.open(tmp_path)
    with pytest.raises(StoreError, match=f"in use by process {os.getpid()}: a journal serves one process at a time"):
        JOURNAL.open(tmp_path)
    committed(first, start("r1"))
    first.close()
    JOURNAL.open(tmp_path).close()


def test_a_second_process_is_refused_until_the_first_ends_however_it_ends(
    tmp_path: Path, process: Callable[[str], subprocess.Popen[str]]
) -> None:
    owner = process("hold")
    assert said(owner) == "open"
    with pytest.raises(StoreError, match=f"in use by process {owner.pid}"):
        JOURNAL.open(tmp_path)
    assert re.match(rf"refused: .* is in use by process {owner.pid}", said(process("hold")))
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    JOURNAL.open(tmp_path).close()


def test_another_name_of_the_folder_is_the_same_folder(tmp_path: Path) -> None:
    store = opened(tmp_path / "journal")
    (tmp_path / "alias").symlink_to(tmp_path / "journal")
    with pytest.raises(StoreError, match="in use"):
        opened(tmp_path / "alias")
    store.close()


def test_a_folder_that_may_not_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(tmp_path).close()
    really = os.open

    def refuse(path: Any, flags: int, *rest: Any, **named: Any) -> int:
        if flags & (os.O_RDWR | os.O_WRONLY):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return really(path, flags, *rest, **named)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(StoreError, match=r"cannot write into .*: Permission denied; give this user the right to"):
        opened(tmp_path)


@pytest.mark.promise("P2")
@pytest.mark.parametrize("acknowledged", [1, 7, 40])
def test_what_a_killed_writer_had_acknowledged_is_kept(
    tmp_path: Path, process: Callable[[str], subprocess.Popen[str]], acknowledged: int
) -> None:
    writer = process("write")
    for number in range(acknowledged):
        assert said(writer) == str(number)
    writer.send_signal(signal.SIGKILL)
    rest, _ = writer.communicate()
    last = max([acknowledged - 1, *(int(line) for line in rest.split())])
    store = JOURNAL.open(tmp_path)
    assert whole_batches(store) in {last + 1, last + 2}
    committed(store, start("next"))
    store.close()


@pytest.mark.promise("P2")
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace to see the system calls")
@pytest.mark.parametrize(("sync", "durable"), [("FULL", True), ("OFF", False)])
def test_a_commit_returns_after_its_lines_are_on_disk(tmp_path: Path, sync: str, durable: bool) -> None:
    """Between the last write to the journal and the acknowledgement stands a completed fdatasync of it.

    On a disk that does not wait it does not, which shows that the test can fail.
    """
    trace = tmp_path / "trace"
    program = [sys.executable, "-m", "tests.contract.ownership", "count", str(tmp_path), "journal", sync]
    subprocess.run(
        ["strace", "-f", "-y", "-e", "trace=pwrite64,write,fdatasync,fsync", "-o", str(trace), *program],
        cwd=ROOT,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    on_disk, written = True, 0
    durable_replies: list[bool] = []
    for line in trace.read_text(errors="replace").splitlines():
        if re.search(r"journal-000001\.jsonl(\.tmp)?>", line) and "write(" in line:
            on_disk, written = False, written + 1
        elif re.search(r"journal-000001\.jsonl(\.tmp)?>\)\s+= 0", line) and "sync(" in line:
            on_disk = True
        elif '"acknowledged' in line:
            durable_replies.append(on_disk)
    assert written >= 6
    assert durable_replies == [durable] * 5


# Crashes between two system calls.


def history(disk: RecordingDisk, store: JournalStore) -> list[dict[str, Any]]:
    """Commits of several kinds over several segments and snapshots; what the store held after each."""
    held = [everything(store)]
    for number in range(14):
        name, other = f"r{number}", f"r{number - 1}"
        batch = [start(name, change=put_task(leased_task(1)))]
        if number:
            batch.append(step(other, 1, request=request(f"q{number}"), events=(event(f"e{number}"),)))
        committed(store, *batch)
        disk.calls.append((ACKNOWLEDGED,))
        held.append(everything(store))
        store.compaction.wait()
    return held


@pytest.mark.promise("P1")
@pytest.mark.promise("P2")
def test_after_a_crash_between_any_two_system_calls_there_is_what_was_acknowledged(tmp_path: Path) -> None:
    """Files with or without what was not flushed, entries of the folder with or without theirs, writes torn."""
    disks: list[RecordingDisk] = []

    def recording(folder: Path) -> RecordingDisk:
        disks.append(RecordingDisk(folder))
        return disks[-1]

    store = opened(tmp_path / "whole", Bounds(segment_bytes=3_000, compact_bytes=6_000), recording)
    held = history(disks[0], store)
    store.close()
    calls = disks[0].calls
    whats = {call[0] for call in calls}
    assert whats >= {"open", "write", "sync", "rename", "remove", "sync_folder", ACKNOWLEDGED}
    assert any("snapshot" in str(call) for call in calls)
    replay = Replay()
    seen: set[str] = set()
    for number, call in enumerate(calls):
        replay.step(call)
        for image, files in replay.images():
            folder = tmp_path / "crashed"
            folder.mkdir()
            for name, data in files.items():
                (folder / name).write_bytes(data)
            again = opened(folder)
            now = everything(again)
            acknowledged = replay.acknowledged
            assert now in held[acknowledged : acknowledged + 2] or image == "torn", (number, call[0], image)
            assert held.index(now) >= acknowledged if now in held else image == "torn"
            committed(again, start("after"))
            again.close()
            shutil.rmtree(folder)
            seen.add(image)
    assert seen == set(IMAGES)


# Snapshots.


class GatedDisk(Disk):
    """Holds the writing of snapshots up."""

    gate = threading.Event()
    reached = threading.Event()

    def open(self, name: str) -> int:
        if name.startswith("snapshot"):
            self.reached.set()
            assert self.gate.wait(60)
        return super().open(name)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_snapshot_beside_commits_shows_one_moment(tmp_path: Path, seed: int) -> None:
    """While it is held up, every kind of change goes on; what is read back is what a store in memory holds, but for
    the leases, which are not written: a start gives them all a new term.
    """
    GatedDisk.gate, GatedDisk.reached = threading.Event(), threading.Event()
    store = opened(tmp_path, SMALL, GatedDisk)
    model = MEMORY.open(tmp_path)
    stream = Stream(model, seed)
    for number in range(160):
        name, change = stream.command()
        if name != "renew":
            change(model)
            change(store)
        if number == 110:
            assert GatedDisk.reached.is_set()
            GatedDisk.gate.set()
    store.compaction.wait()
    assert list(tmp_path.glob("snapshot-*.jsonl"))
    now = everything(model)
    assert everything(store) == now
    store.close()
    again = opened(tmp_path, SMALL)
    for each in (model, again):
        each.reset_leases(NOW)
    assert everything(again) == everything(model)
    again.close()


def test_a_store_that_closes_gives_up_its_snapshot(tmp_path: Path) -> None:
    GatedDisk.gate, GatedDisk.reached = threading.Event(), threading.Event()
    store = opened(tmp_path, SMALL, GatedDisk)
    number = 0
    while not GatedDisk.reached.is_set():
        committed(store, start(f"r{number}"))
        number += 1
    before = everything(store)
    closing = threading.Thread(target=store.close)
    closing.start()
    GatedDisk.gate.set()
    closing.join()
    assert not list(tmp_path.glob("*.tmp"))
    again = opened(tmp_path, SMALL)
    assert everything(again) == before
    again.close()


def test_old_files_go_and_the_rest_is_no_larger_than_twice_the_state(tmp_path: Path) -> None:
    store = opened(tmp_path, SMALL)
    committed(store, start("r1"))
    for seq in range(1, 200):
        committed(store, step("r1", seq, keyframe=bytes(3_000)))
        store.compaction.wait()
    sizes = {path.name: path.stat().st_size for path in tmp_path.glob("*.jsonl")}
    assert len([name for name in sizes if name.startswith("snapshot")]) == 1
    snapshot = max(size for name, size in sizes.items() if name.startswith("snapshot"))
    assert sum(sizes.values()) < 4 * snapshot
    assert store.stats().snapshot_bytes == snapshot
    store.close()


# Disks that fail.


class FailingDisk(Disk):
    """Fails the calls that are named."""

    failing: frozenset[str] = frozenset()

    def _check(self, what: str) -> None:
        if what in self.failing:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def write(self, descriptor: int, data: bytes) -> None:
        if "write" in self.failing:
            super().write(descriptor, data[: len(data) // 2])
        self._check("write")
        super().write(descriptor, data)

    def sync(self, descriptor: int) -> None:
        self._check("sync")
        super().sync(descriptor)

    def cut(self, descriptor: int, size: int) -> None:
        self._check("cut")
        super().cut(descriptor, size)

    def rename(self, name: str, new_name: str) -> None:
        self._check("rename snapshot" if name.startswith("snapshot") else "rename")
        super().rename(name, new_name)


def failing_store(folder: Path, bounds: Bounds = SMALL) -> tuple[JournalStore, FailingDisk]:
    """A journal and its disk."""
    disks: list[FailingDisk] = []

    def make(path: Path) -> FailingDisk:
        disks.append(FailingDisk(path))
        return disks[-1]

    return opened(folder, bounds, make), disks[0]


def write_everything(store: Store) -> list[Callable[[], object]]:
    """One call of each writing method that writes something."""
    rows = store.read_obligations(key("r1"))
    assert rows is not None
    return [
        lambda: store.commit([start("r2")]),
        lambda: store.install(key("r1"), 1, rows, None),
        lambda: store.trim(NOW + 1, NOW + 1, 1, 10),
    ]


def test_what_a_full_disk_refuses_is_not_there_and_with_room_it_goes_on(tmp_path: Path) -> None:
    store, disk = failing_store(tmp_path)
    committed(store, start("r1", change=put_task(leased_task(1))), step("r1", 1, events=(event("e"),)))
    before = everything(store)
    disk.failing = frozenset({"write"})
    for call in write_everything(store)[:1] * 2:
        with pytest.raises(StoreError, match=r"journal-000001.jsonl: No space left on device"):
            call()
    assert everything(store) == before
    disk.failing = frozenset()
    committed(store, start("r2"))
    now = everything(store)
    store.close()
    again = opened(tmp_path, SMALL)
    assert everything(again) == now
    again.close()


@pytest.mark.promise("P2")
@pytest.mark.parametrize("failing", [{"sync"}, {"write", "cut"}])
def test_after_a_failure_that_leaves_the_disk_uncertain_nothing_is_accepted_any_more(
    tmp_path: Path, failing: set[str]
) -> None:
    """A second fdatasync after one that failed succeeds, and may not have written a thing."""
    store, disk = failing_store(tmp_path)
    committed(store, start("r1", change=put_task(leased_task(1)), last=1))
    before = everything(store)
    disk.failing = frozenset(failing)
    with pytest.raises(StoreError):
        store.commit([start("r2")])
    disk.failing = frozenset()
    for call in write_everything(store)[:2]:
        with pytest.raises(StoreError, match="what is on disk is uncertain; check the disk, then start the server"):
            call()
    assert everything(store) == before
    store.close()
    again = opened(tmp_path, SMALL)
    assert again.load_run(key("r1")) is not None
    again.close()


@pytest.mark.parametrize("failing", ["rename", "rename snapshot"])
def test_no_room_for_a_new_file_is_no_failure_of_a_commit(
    tmp_path: Path, failing: str, caplog: pytest.LogCaptureFixture
) -> None:
    store, disk = failing_store(tmp_path)
    committed(store, start("r0"))
    disk.failing = frozenset({failing})
    for number in range(1, 30):
        committed(store, start(f"r{number}"))
        store.compaction.wait()
    assert "No space left on device" in caplog.text
    assert not list(tmp_path.glob("snapshot-*.jsonl"))
    disk.failing = frozenset()
    for number in range(30, 40):
        committed(store, start(f"r{number}"))
        store.compaction.wait()
    assert list(tmp_path.glob("snapshot-*.jsonl"))
    now = everything(store)
    store.close()
    again = opened(tmp_path, SMALL)
    assert everything(again) == now
    again.close()


@pytest.mark.promise("P10")
def test_a_state_beyond_its_memory_refuses_commits_and_says_what_to_do(tmp_path: Path) -> None:
    store = opened(tmp_path, Bounds(memory_bytes=12_000))
    committed(store, start("r0"), start("r1"))
    many = [start(f"more{number}") for number in range(20)]
    with pytest.raises(StoreError, match=r"more than 0 MiB of memory.*sqlite:///FILE"):
        store.commit(many)
    held = everything(store)
    assert store.stats().runs == 2
    store.close()
    again = opened(tmp_path, Bounds(memory_bytes=12_000))
    assert everything(again) == held
    again.close()
