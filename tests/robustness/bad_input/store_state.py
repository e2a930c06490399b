"""What a store holds: as its file tells, read beside its server, and as the API tells."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from types import TracebackType
from typing import Self

import grpc.aio

from perdure.v1 import common_pb2
from perdure.v1 import run_service_pb2 as runs
from perdure.v1 import workflow_service_pb2 as workflows
from perdure.v1.run_service_pb2_grpc import RunServiceStub
from perdure.v1.workflow_service_pb2_grpc import WorkflowServiceStub
from tests.robustness.checker.export import Export, take_export

PAGE = 1_000


class StoreState:
    """Looks at a SQLite store's file while its server runs.

    Args:
        store: the file.
    """

    def __init__(self, store: Path) -> None:
        self._connection = sqlite3.connect(f"file:{store}?mode=ro", uri=True, isolation_level=None)
        self.mark()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._connection.close()

    def mark(self) -> None:
        """From here on changes count."""
        self._marked = self._version()

    def has_changed(self) -> bool:
        """Whether the server has committed anything since the mark."""
        return self._version() != self._marked

    def _version(self) -> int:
        """Another number after any commit of another connection."""
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        return int(version)


Told = tuple[Export, list[bytes], list[bytes]]


async def told(channel: grpc.aio.Channel) -> Told:
    """All records with their payloads, the events of session "s", all runs and all workflows, as the API tells."""
    export = await take_export(channel, "default", [(common_pb2.EVENT_SCOPE_SESSION, "s")], at=0)
    found_runs: list[bytes] = []
    run_request = runs.ListRunsRequest(page_size=PAGE)
    while True:
        run_page = await RunServiceStub(channel).ListRuns(run_request)
        found_runs += [run.SerializeToString(deterministic=True) for run in run_page.runs]
        run_request.page_token = run_page.next_page_token
        if not run_page.next_page_token:
            break
    spec_request = workflows.ListWorkflowsRequest(page_size=PAGE)
    spec_page = await WorkflowServiceStub(channel).ListWorkflows(spec_request)
    return export, found_runs, [spec_page.SerializeToString(deterministic=True)]
