"""RetryRuns: a page of the failed runs that match a filter, each opened again in a commit of its own."""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import replace

from perdure_server.engine.commands import (
    RequestId,
    RetryOutcome,
    RetryRunCommand,
    RetryRunsCommand,
    RetryRunsReply,
)
from perdure_server.engine.core import Engine
from perdure_server.engine.errors import EngineError, RunNotFoundError
from perdure_server.engine.replies import reply_of
from perdure_server.engine.requests import check_request
from perdure_server.engine.retry_run import retry_input, retry_run
from perdure_server.kernel.decide import decide
from perdure_server.kernel.decision import Rejection
from perdure_server.storage.port import Commit, RequestRow, RunKey, RunSummary, VerdictKind

AT_ONCE = 50
"""Runs of a page that are under way together: a page is no reason to push the work of others aside."""


async def retry_runs(engine: Engine, command: RetryRunsCommand, after: tuple[int | str, ...] | None) -> RetryRunsReply:
    """Opens a page of failed runs again, newest first; one that is refused does not stop the others.

    A repeat of the request gets the first reply. If there was none, each run is opened at most once all the same:
    it keeps a request id made from the page's.

    Args:
        after: (created_at, run_id) of the last run of the page before; None: from the newest.

    Raises: NamespaceNotFoundError, RequestIdReusedError, StoreUnavailableError, DrainingError.
    """
    namespace = command.query.namespace
    await engine.catalog.require_namespace(namespace)
    if command.request is not None and (kept := await engine.find_request(namespace, command.request)) is not None:
        return _decode(kept)
    page: list[RunSummary] = await engine.read(engine.store.list_runs, command.query, after, command.limit + 1)
    runs = page[: command.limit]
    outcomes: list[RetryOutcome] = []
    for start in range(0, len(runs), AT_ONCE):
        chunk = [RunKey(namespace, row.identity.run_id) for row in runs[start : start + AT_ONCE]]
        outcomes += await asyncio.gather(*(_one(engine, command, key) for key in chunk))
    last = runs[-1].identity if len(page) > command.limit else None
    reply = RetryRunsReply(tuple(outcomes), (last.created_at, last.run_id) if last else None)
    return await _keep(engine, command, reply)


async def _one(engine: Engine, command: RetryRunsCommand, key: RunKey) -> RetryOutcome:
    try:
        if command.dry_run:
            return await _would(engine, command, key)
        request = _request_of(command.request, key)
        reply = await retry_run(engine, RetryRunCommand(key, command.terms, request))
        return RetryOutcome(reply.run_id, reply.seq, reply.status, reply.activity)
    except (Rejection, RunNotFoundError) as refusal:
        return await _refused(engine, key, refusal)


async def _would(engine: Engine, command: RetryRunsCommand, key: RunKey) -> RetryOutcome:
    run = await engine.load(key)
    spec = await engine.catalog.get(key.namespace, run.workflow_id, run.workflow_version)
    after = decide(run, retry_input(command.terms), engine.event_env(spec, key.namespace)).run
    return RetryOutcome(run.run_id, run.seq, int(run.status), int(after.activity))


async def _refused(engine: Engine, key: RunKey, refusal: Rejection | EngineError) -> RetryOutcome:
    reason = refusal.reason if isinstance(refusal, EngineError) else refusal.reason.value
    if isinstance(refusal, RunNotFoundError):
        return RetryOutcome(key.run_id, 0, 0, 0, reason, refusal.message)
    reply = reply_of(await engine.load(key))
    return RetryOutcome(reply.run_id, reply.seq, reply.status, reply.activity, reason, refusal.message)


def _request_of(request: RequestId | None, key: RunKey) -> RequestId | None:
    """The request id of one run of the page."""
    if request is None:
        return None
    name = hashlib.sha256(f"{request.request_id}\0{key.run_id}".encode()).hexdigest()
    return replace(request, request_id=name)


async def _keep(engine: Engine, command: RetryRunsCommand, reply: RetryRunsReply) -> RetryRunsReply:
    """Keeps the reply under the page's request id; if another call was faster, its reply is the answer."""
    request = command.request
    if request is None or command.dry_run:
        return reply
    row = RequestRow(request.method, request.request_id, request.body_hash, _encode(reply), engine.clock.now())
    verdict = await engine.commit(Commit(command.query.namespace, request=row))
    if verdict.kind is VerdictKind.REQUEST_KNOWN and verdict.request is not None:
        return _decode(check_request(verdict.request, request))
    return reply


def _encode(reply: RetryRunsReply) -> bytes:
    rows = [[item.run_id, item.seq, item.status, item.activity, item.reason, item.message] for item in reply.outcomes]
    return json.dumps([rows, reply.after], separators=(",", ":")).encode()


def _decode(kept: bytes) -> RetryRunsReply:
    rows, after = json.loads(kept)
    return RetryRunsReply(tuple(RetryOutcome(*row) for row in rows), tuple(after) if after else None)
