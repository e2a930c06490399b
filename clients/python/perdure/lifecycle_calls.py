"""RunService's calls that change what a run is: opened again after a failure, moved to another version."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import TypedDict, Unpack

from perdure.calls import Calls, new_request_id
from perdure.instants import to_timestamp
from perdure.json_text import JsonObject, encode
from perdure.pages import Page
from perdure.runs import MigrateReply, MigrationFault, RetryOutcome, RunFilter, RunReply
from perdure.v1 import model_pb2
from perdure.v1 import run_service_pb2 as pb
from perdure.values import RunActivity, RunStatus

_MAX_PAGE = 1_000


class RetryOptions(TypedDict, total=False):
    """How a failed run is opened again; see the contract's RetryRunRequest.

    from_node: the node runs again, for a new plan, where an effect of its plan failed.
    deadline: the run's new deadline; needed where the one it has has passed.
    pause: the run is open again and paused.
    retried_by: who does this; kept in the ledger.
    """

    from_node: bool
    deadline: datetime
    pause: bool
    retried_by: str


class LifecycleCalls(Calls):
    """RetryRun, RetryRuns and MigrateRun. They raise what the methods of RunCalls raise."""

    async def retry_run(
        self,
        run_id: str,
        *,
        set_vars: JsonObject | None = None,
        remove_vars: Sequence[str] = (),
        request_id: str | None = None,
        **options: Unpack[RetryOptions],
    ) -> RunReply:
        """Opens a failed run again at the step it failed at: same visit, same idempotency key.

        Args:
            run_id: the run.
            set_vars: repairs of its vars: JSON Pointer to value, in order.
            remove_vars: JSON Pointers of what is removed from its vars, after that.
            request_id: for repeats of the caller's own.
            options: see RetryOptions.

        Raises:
            FailedPrecondition: RUN_NOT_FAILED, DEADLINE_PASSED, EFFECT_IN_DOUBT.
        """
        request = pb.RetryRunRequest(
            namespace=self._connection.namespace,
            request_id=request_id or new_request_id(),
            run_id=run_id,
            vars_ops=[
                *(model_pb2.VarsOp(path=path, set_json=encode(value)) for path, value in (set_vars or {}).items()),
                *(model_pb2.VarsOp(path=path, remove=True) for path in remove_vars),
            ],
        )
        _put_options(request, options)
        return RunReply.from_wire(await self._change(self._runs.RetryRun, request))

    async def retry_runs_page(
        self,
        filter: RunFilter | None = None,
        *,
        page_size: int = 0,
        page_token: str = "",
        dry_run: bool = False,
        request_id: str | None = None,
        **options: Unpack[RetryOptions],
    ) -> Page[RetryOutcome]:
        """Opens one page of the failed runs that match, newest first, each by a commit of its own."""
        request = pb.RetryRunsRequest(
            namespace=self._connection.namespace,
            request_id=request_id or new_request_id(),
            filter=filter.to_wire() if filter is not None else None,
            page_size=page_size,
            page_token=page_token,
            dry_run=dry_run,
        )
        _put_options(request, options)
        reply = await self._connection.unary(self._runs.RetryRuns, request)
        for outcome in reply.outcomes:
            self._told.hear(outcome.run_id, outcome.seq)
        return Page([RetryOutcome.from_wire(outcome) for outcome in reply.outcomes], reply.next_page_token)

    async def retry_runs(
        self,
        filter: RunFilter | None = None,
        *,
        rate: float = 50.0,
        dry_run: bool = False,
        page_token: str = "",
        **options: Unpack[RetryOptions],
    ) -> AsyncIterator[RetryOutcome]:
        """Opens all failed runs that match, at most about `rate` of them a second.

        What was interrupted is begun anew: runs that were opened again match no longer.

        Args:
            filter: which.
            rate: runs a second; a page of them is one second's worth.
            dry_run: only tells.
            page_token: where to begin.
            options: see RetryOptions.
        """
        if rate <= 0:
            raise ValueError(f"rate is {rate}: it must be above 0")
        size = max(1, min(_MAX_PAGE, round(rate)))
        now = asyncio.get_running_loop().time
        due = now()
        while True:
            page = await self.retry_runs_page(filter, page_size=size, page_token=page_token, dry_run=dry_run, **options)
            for outcome in page.items:
                yield outcome
            page_token = page.next_page_token
            if not page_token:
                return
            due += len(page.items) / rate
            await self._connection.sleep(max(due - now(), 0.0))

    async def migrate_run(
        self,
        run_id: str,
        workflow_version: str = "",
        *,
        node_map: Mapping[str, str] | None = None,
        dry_run: bool = False,
        migrated_by: str = "",
        request_id: str | None = None,
    ) -> MigrateReply:
        """Moves a run to another version of its workflow, by default to the default version.

        Args:
            run_id: the run; it has not ended.
            workflow_version: a registered version.
            node_map: nodes that have another name there, from old to new.
            dry_run: only tells, in `faults` why it would be refused.
            migrated_by: who does this; kept in the ledger.
            request_id: for repeats of the caller's own.

        Raises:
            FailedPrecondition: MIGRATION_REFUSED (nothing has changed), RUN_ENDED.
            NotFound: WORKFLOW_NOT_FOUND.
        """
        request = pb.MigrateRunRequest(
            namespace=self._connection.namespace,
            request_id=request_id or new_request_id(),
            run_id=run_id,
            workflow_version=workflow_version,
            node_map=node_map or {},
            dry_run=dry_run,
            migrated_by=migrated_by,
        )
        reply = await self._change(self._runs.MigrateRun, request)
        return MigrateReply(
            run_id=reply.run_id,
            seq=reply.seq,
            status=RunStatus.from_wire(reply.status),
            activity=RunActivity.from_wire(reply.activity),
            from_version=reply.from_version,
            to_version=reply.to_version,
            current_node=reply.current_node,
            requeued=reply.requeued,
            faults=tuple(MigrationFault(fault.node_id, fault.place, fault.problem) for fault in reply.faults),
            left_behind=tuple(reply.left_behind),
        )


def _put_options(request: pb.RetryRunRequest | pb.RetryRunsRequest, options: RetryOptions) -> None:
    request.from_node = options.get("from_node", False)
    request.pause = options.get("pause", False)
    request.retried_by = options.get("retried_by", "")
    if "deadline" in options:
        request.deadline.CopyFrom(to_timestamp(options["deadline"]))
