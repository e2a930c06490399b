"""What a client was told of a run, it asks for: no server shows it an older state."""

from collections.abc import Iterator

import pytest

from perdure.sync import Client
from perdure.told import ToldRuns
from perdure.v1 import model_pb2, run_service_pb2
from tests.sdk.test_sync_client import Server, outcome


@pytest.fixture
def server() -> Server:
    """The transport."""
    return Server()


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    """A client over it, which was told that run r is at seq 7."""
    with server.client() as client:
        resuming = server.during(lambda: client.resume_run("r", wait_id=6))
        server.reply("RunService.ResumeRun", run_service_pb2.ResumeRunResponse(run_id="r", seq=7))
        outcome(resuming)
        yield client


def waited(seq: int, *, reached: bool = True) -> run_service_pb2.WaitRunResponse:
    """The answer that the run is at a seq."""
    return run_service_pb2.WaitRunResponse(run=model_pb2.RunState(run_id="r", seq=seq), reached=reached)


@pytest.mark.parametrize(("run_id", "asked", "wanted"), [("r", 0, 7), ("r", 3, 7), ("r", 9, 9), ("other", 0, 0)])
def test_a_wait_asks_for_what_was_told(server: Server, client: Client, run_id: str, asked: int, wanted: int) -> None:
    working = server.during(lambda: client.wait_run(run_id, min_seq=asked))
    assert server.reply("RunService.WaitRun", waited(9)).min_seq == wanted
    assert outcome(working).seq == 9


def test_what_a_wait_tells_counts_too(server: Server, client: Client) -> None:
    for seq, wanted in ((12, 7), (12, 12)):
        working = server.during(lambda: client.wait_run("r"))
        assert server.reply("RunService.WaitRun", waited(seq)).min_seq == wanted
        outcome(working)


def test_a_run_that_is_older_than_what_was_told_is_asked_for_again(server: Server, client: Client) -> None:
    working = server.during(lambda: client.get_run("r", view="basic"))
    older = model_pb2.RunState(run_id="r", seq=6)
    server.reply("RunService.GetRun", run_service_pb2.GetRunResponse(run=older))
    again = server.reply("RunService.WaitRun", waited(8, reached=False))
    assert (again.min_seq, again.wait.ToMilliseconds(), again.view) == (7, 1, run_service_pb2.RUN_VIEW_BASIC)
    assert outcome(working).seq == 8


def test_a_run_that_is_as_told_is_asked_for_once(server: Server, client: Client) -> None:
    working = server.during(lambda: client.get_run("r"))
    server.reply("RunService.GetRun", run_service_pb2.GetRunResponse(run=model_pb2.RunState(run_id="r", seq=7)))
    assert outcome(working).seq == 7


def test_a_store_that_was_put_back_is_believed(server: Server, client: Client) -> None:
    """Else a wait would never end: the run need not come to that seq again."""
    working = server.during(lambda: client.wait_run("r", min_seq=2))
    assert server.reply("RunService.WaitRun", waited(4, reached=False)).min_seq == 7
    assert server.reply("RunService.WaitRun", waited(4)).min_seq == 4
    assert outcome(working).seq == 4


def test_the_runs_heard_of_least_recently_are_forgotten() -> None:
    told = ToldRuns(max_runs=2)
    for run_id, seq in (("a", 5), ("b", 5), ("a", 3), ("c", 1)):
        told.hear(run_id, seq)
    assert [told.seq_of(run_id) for run_id in ("a", "b", "c")] == [5, 0, 1]
    assert len(told) == 2
