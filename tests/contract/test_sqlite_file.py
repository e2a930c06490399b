"""What only a store in a file can get wrong: two owners, a killed writer, a torn log, damage, foreign files."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.schema import CreateIndex, CreateTable

from perdure_server.storage.port import RecordQuery, RunQuery, Store, StoreError, WaitQuery
from perdure_server.storage.sql import migrate, schema, sqlite
from tests.contract.bindings import SQLITE
from tests.contract.builders import (
    DEFAULT,
    committed,
    key,
    leased_task,
    put_task,
    start,
    step,
    wait,
    waiting_head,
)
from tests.contract.ownership import RECORDS, RUNS

ROOT = Path(__file__).parents[2]


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Starts one of the programs of `ownership` on the folder."""
    started: list[subprocess.Popen[str]] = []

    def start_program(what: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.contract.ownership", what, str(tmp_path), "sqlite"]
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        started.append(child)
        return child

    yield start_program
    for child in started:
        child.kill()
        child.communicate()


def said(child: subprocess.Popen[str]) -> str:
    """The next line of a program."""
    assert child.stdout is not None
    return child.stdout.readline().strip()


def test_a_second_store_in_this_process_is_refused(tmp_path: Path) -> None:
    first = SQLITE.open(tmp_path)
    with pytest.raises(StoreError, match=f"in use by process {os.getpid()}"):
        SQLITE.open(tmp_path)
    committed(first, start("r1"))
    first.close()
    SQLITE.open(tmp_path).close()


def test_a_second_process_is_refused(tmp_path: Path, process: Callable[[str], subprocess.Popen[str]]) -> None:
    store = SQLITE.open(tmp_path)
    answer = said(process("hold"))
    assert re.fullmatch(rf"refused: .*runs\.db is in use by process {os.getpid()}: .*", answer)
    committed(store, start("r1"))
    store.close()
    assert said(process("hold")) == "open"


def test_the_lock_ends_with_its_owner_however_that_ends(
    tmp_path: Path, process: Callable[[str], subprocess.Popen[str]]
) -> None:
    owner = process("hold")
    assert said(owner) == "open"
    with pytest.raises(StoreError, match=f"in use by process {owner.pid}"):
        SQLITE.open(tmp_path)
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    SQLITE.open(tmp_path).close()


def test_another_name_of_the_file_is_the_same_file(tmp_path: Path) -> None:
    store = SQLITE.open(tmp_path)
    alias = tmp_path / "alias"
    alias.mkdir()
    (alias / "runs.db").symlink_to(tmp_path / "runs.db")
    with pytest.raises(StoreError, match="in use"):
        SQLITE.open(alias)
    store.close()


def whole_batches(store: Store) -> int:
    """How many of `ownership`'s batches the store holds; fails unless it holds exactly these, whole."""
    ledger = store.read_records(RecordQuery(DEFAULT, limit=1_000_000, byte_limit=1 << 40))
    assert [stored.position for stored in ledger] == list(range(1, store.horizon() + 1))
    if not ledger:
        return 0
    heads = {run.identity.run_id: run.head.seq for run in store.list_runs(RunQuery(DEFAULT), None, 100)}
    assert set(heads) == {f"r{run}" for run in range(RUNS)}
    (seq,) = set(heads.values())
    assert len(ledger) == RUNS * seq
    assert all(stored.payloads[0].data is not None for stored in ledger)
    for run_id in heads:
        snapshot = store.load_run(key(run_id))
        assert snapshot is not None
        assert len(snapshot.records) == seq
        assert store.read_obligations(key(run_id)) is not None
    batches, rest = divmod(seq - 1, RECORDS)
    assert rest == 0
    return batches + 1


@pytest.mark.promise("P2")
@pytest.mark.parametrize("acknowledged", [1, 7, 40])
def test_what_a_killed_writer_had_acknowledged_is_kept(
    tmp_path: Path, process: Callable[[str], subprocess.Popen[str]], acknowledged: int
) -> None:
    writer = process("write")
    for number in range(acknowledged):
        assert said(writer) == str(number)
    writer.send_signal(signal.SIGKILL)
    assert writer.stdout is not None
    # Not `communicate`, which reads behind the lines that the stream has already taken from the pipe.
    rest = writer.stdout.read()
    writer.wait()
    last = max([acknowledged - 1, *(int(line) for line in rest.split())])
    store = SQLITE.open(tmp_path)
    assert whole_batches(store) in {last + 1, last + 2}
    committed(store, start("next"))
    store.close()


@pytest.mark.promise("P1")
def test_a_log_torn_anywhere_gives_whole_commits_only(
    tmp_path: Path, process: Callable[[str], subprocess.Popen[str]]
) -> None:
    """The log of a killed writer, cut at many lengths, as a crash of the machine may leave it."""
    source = tmp_path
    writer = process("write")
    for number in range(12):
        assert said(writer) == str(number)
    writer.send_signal(signal.SIGKILL)
    writer.communicate()
    log = (source / "runs.db-wal").read_bytes()
    found: list[int] = []
    for cut in range(20):
        folder = tmp_path / f"cut{cut}"
        folder.mkdir()
        shutil.copy(source / "runs.db", folder)
        torn = log[: len(log) - cut * 3_777]
        (folder / "runs.db-wal").write_bytes(torn)
        store = SQLITE.open(folder)
        found.append(whole_batches(store))
        store.close()
    assert found == sorted(found, reverse=True)
    assert found[0] >= 12 > found[-1]


@pytest.mark.promise("P2")
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace to see the system calls")
@pytest.mark.parametrize(("synchronous", "durable"), [("FULL", True), ("OFF", False)])
def test_a_commit_returns_after_its_log_is_on_disk(tmp_path: Path, synchronous: str, durable: bool) -> None:
    """Between the last write to the log and the acknowledgement stands a completed fdatasync of the log.

    With synchronous=OFF it does not, which shows that the test can fail.
    """
    trace = tmp_path / "trace"
    program = [sys.executable, "-m", "tests.contract.ownership", "count", str(tmp_path), "sqlite", synchronous]
    subprocess.run(
        ["strace", "-f", "-y", "-e", "trace=pwrite64,write,fdatasync,fsync", "-o", str(trace), *program],
        cwd=ROOT,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    on_disk, acknowledged = True, 0
    durable_replies: list[bool] = []
    for line in trace.read_text(errors="replace").splitlines():
        if "runs.db-wal>" in line and "pwrite64(" in line:
            on_disk = False
        elif "runs.db-wal>" in line and re.search(r"f(data)?sync\(.*\)\s+= 0", line):
            on_disk = True
        elif '"acknowledged' in line:
            durable_replies.append(on_disk)
            acknowledged += 1
    assert acknowledged == 5
    assert durable_replies == [durable] * 5


def damaged(tmp_path: Path, statement: str) -> Store:
    """A store with a waiting and a stepping run, after a statement of somebody else's."""
    store = SQLITE.open(tmp_path)
    committed(store, start("r1", run_head=waiting_head(1, wait(1))), start("r2", last=3))
    committed(store, step("r2", 3, keyframe=b"at 4"), start("r3"))
    committed(store, step("r2", 4, count=2))
    store.close()
    with sqlite3.connect(tmp_path / "runs.db") as connection:
        connection.execute(statement)
    connection.close()
    return SQLITE.open(tmp_path)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM records WHERE seq = 5",
        "DELETE FROM records WHERE seq = 6",
        "UPDATE runs SET seq = 9 WHERE run_id = 'r2'",
        "UPDATE keyframes SET seq = 8",
    ],
)
def test_a_damaged_run_is_an_error_and_no_unknown_run(tmp_path: Path, statement: str) -> None:
    store = damaged(tmp_path, statement)
    with pytest.raises(StoreError, match=r"'r2' .*damaged"):
        store.load_run(key("r2"))
    assert store.load_run(key("r3")) is not None
    assert store.load_run(key("nobody")) is None
    store.close()


def test_without_its_keyframe_a_run_is_loaded_from_its_whole_ledger(tmp_path: Path) -> None:
    store = damaged(tmp_path, "DELETE FROM keyframes")
    snapshot = store.load_run(key("r2"))
    assert snapshot is not None
    assert (snapshot.keyframe_seq, snapshot.keyframe) == (0, None)
    assert [stored.seq for stored in snapshot.records] == [1, 2, 3, 4, 5, 6]
    store.close()


def test_a_record_without_its_run_is_an_error(tmp_path: Path) -> None:
    store = damaged(tmp_path, "DELETE FROM runs WHERE run_id = 'r3'")
    with pytest.raises(StoreError, match="damaged"):
        store.read_records(RecordQuery(DEFAULT))
    store.close()


def test_a_lost_wait_row_is_for_the_auditor_to_see(tmp_path: Path) -> None:
    """Loading must go on, or nobody could repair it; the head says WAITING without a wait."""
    store = damaged(tmp_path, "DELETE FROM waits")
    snapshot = store.load_run(key("r1"))
    assert snapshot is not None
    assert (snapshot.head.activity, snapshot.head.wait) == (4, None)
    obligations = store.read_obligations(key("r1"))
    assert obligations is not None
    assert store.install(key("r1"), 1, obligations, wait(1))
    assert [run.head.wait for run in store.list_waits(WaitQuery(DEFAULT), None, 9)] == [wait(1)]
    store.close()


def test_damaged_pages_are_a_store_error(tmp_path: Path) -> None:
    store = SQLITE.open(tmp_path)
    committed(store, *(start(f"r{number}") for number in range(200)))
    store.close()
    path = tmp_path / "runs.db"
    data = bytearray(path.read_bytes())
    with sqlite3.connect(path) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'runs'").fetchone()
    connection.close()
    data[(root - 1) * 4096 : root * 4096] = b"\xa5" * 4096
    path.write_bytes(data)
    store = SQLITE.open(tmp_path)
    with pytest.raises(StoreError):
        store.load_run(key("r1"))
    with pytest.raises(StoreError):
        store.commit([step("r1", 1)])
    store.close()


def test_the_database_of_another_application_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE precious (x)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="another application"):
        SQLITE.open(tmp_path)
    assert path.read_bytes() == before
    path.unlink()
    SQLITE.open(tmp_path).close()


def test_a_file_that_is_no_database_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    path.write_bytes(b"Dear diary, " * 500)
    with pytest.raises(StoreError, match="not a Perdure store"):
        SQLITE.open(tmp_path)
    assert path.read_bytes() == b"Dear diary, " * 500


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="nowhere"):
        SQLITE.open(tmp_path / "nowhere")


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    store = damaged(tmp_path, "SELECT 1")
    store.close()
    with sqlite3.connect(tmp_path / "runs.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(StoreError, match=r"schema 9999, made by a newer Perdure; .* up to \d{4}"):
        SQLITE.open(tmp_path)
    with pytest.raises(StoreError, match="9999"):
        SQLITE.open(tmp_path)


def structure(path: Path) -> set[str]:
    """The SQL of all tables and indexes, without white space and quotes."""
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    connection.close()
    return {re.sub(r'[\s"]', "", sql) for (sql,) in rows if "alembic_version" not in sql}


def test_the_migrations_lead_to_the_schema(tmp_path: Path) -> None:
    SQLITE.open(tmp_path).close()
    engine = sa.create_engine("sqlite://")
    expected = {str(CreateTable(table).compile(engine)) for table in schema.metadata.tables.values()}
    for table in schema.metadata.tables.values():
        expected |= {str(CreateIndex(index).compile(engine)) for index in table.indexes}
    assert structure(tmp_path / "runs.db") == {re.sub(r'[\s"]', "", sql) for sql in expected}


def test_every_revision_is_a_file_and_every_file_a_revision() -> None:
    files = sorted(path.name.partition("_")[0] for path in (migrate.MIGRATIONS / "versions").glob("*.py"))
    assert tuple(files) == migrate.REVISIONS


def test_a_start_that_fails_while_migrating_leaves_no_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(connection: sa.Connection) -> None:
        migrate.migrate(connection)
        raise StoreError("the machine is on fire")

    with monkeypatch.context() as patched:
        patched.setattr(sqlite, "migrate", fail)
        with pytest.raises(StoreError, match="on fire"):
            SQLITE.open(tmp_path)
    assert structure(tmp_path / "runs.db") == set()
    store = SQLITE.open(tmp_path)
    committed(store, start("r1"))
    store.close()


def test_a_start_on_an_existing_file_does_not_load_the_migrations(
    tmp_path: Path, process: Callable[[str], subprocess.Popen[str]]
) -> None:
    assert said(process("warm")) != "[]"
    process("warm").wait()
    assert said(process("warm")) == "[]"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE runs SET paused = 2",
        "UPDATE runs SET status = 3",
        "UPDATE runs SET activity = 4",
        "UPDATE runs SET seq = 0",
        "UPDATE runs SET head_hash = x'00'",
        "UPDATE runs SET run_id = ''",
        "UPDATE runs SET created_at = 'yesterday'",
        "UPDATE runs SET parent_no = 5",
        "UPDATE tasks SET held = 1",
        "UPDATE tasks SET worker_id = ''",
        "UPDATE tasks SET leased = 0",
        "UPDATE records SET seq = 1",
        "UPDATE records SET prev_hash = x'0000'",
        "UPDATE payloads SET salt = x''",
        "UPDATE waits SET reason = 0",
        "INSERT INTO timers VALUES (1, 1, 0)",
        "INSERT INTO turns VALUES (1, 2, 1)",
        "INSERT INTO keyframes VALUES (1, 0, x'')",
    ],
)
def test_the_database_itself_refuses_rows_that_no_run_may_have(tmp_path: Path, statement: str) -> None:
    store = SQLITE.open(tmp_path)
    committed(store, start("r1", last=2, change=put_task(leased_task(1))))
    committed(store, start("r2", run_head=waiting_head(1, wait(1))))
    store.close()
    connection = sqlite3.connect(tmp_path / "runs.db")
    with pytest.raises(sqlite3.IntegrityError):
        connection.execute(statement)
    connection.close()
