"""A run, as something to hold in the hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, Unpack

from perdure.instants import Span
from perdure.json_text import Json, JsonObject
from perdure.ledger import LedgerEntry, RecordView
from perdure.lifecycle_calls import RetryOptions
from perdure.model import Failure, RunState
from perdure.pages import Pages
from perdure.plan import Plan
from perdure.runs import CompletedEffect, MigrateReply, RunReply, TickReply, Until, View
from perdure.subscription import RunWatch, Subscription
from perdure.values import RunStatus

if TYPE_CHECKING:
    from perdure.client import Client


class RunFailed(Exception):
    """A run whose result was asked for ended without one.

    Attributes:
        run: the run as it ended.
        error: why; None if the server did not say.
    """

    def __init__(self, run: RunState) -> None:
        why = f"{run.error.type}: {run.error.message}" if run.error is not None else str(run.status)
        super().__init__(f"run {run.run_id} {run.status}: {why}")
        self.run = run
        self.error = run.error


class RunCancelled(RunFailed):
    """It was cancelled."""


class RunHandle:
    """A run and the client that reaches it. All methods raise what the client's methods raise."""

    def __init__(self, client: Client, run_id: str) -> None:
        self._client = client
        self.run_id = run_id

    def __repr__(self) -> str:
        return f"RunHandle({self.run_id!r})"

    async def state(self, *, view: View = "full") -> RunState:
        """The run as it stands."""
        return await self._client.get_run(self.run_id, view=view)

    async def wait(
        self, *, until: Until = "settled", min_seq: int = 0, timeout: Span | None = None, view: View = "full"
    ) -> RunState:
        """Waits until it is settled or ended; see `Client.wait_run`.

        Raises:
            TimeoutError: not within `timeout`.
        """
        return await self._client.wait_run(self.run_id, until=until, min_seq=min_seq, timeout=timeout, view=view)

    async def result(self, *, timeout: Span | None = None) -> JsonObject:
        """Waits until it has ended and returns its output.

        Raises:
            RunFailed: it failed; RunCancelled: it was cancelled.
            TimeoutError: not within `timeout`.
        """
        run = await self.wait(until="ended", timeout=timeout)
        if run.status is RunStatus.COMPLETED:
            return run.output or {}
        raise RunCancelled(run) if run.status is RunStatus.CANCELLED else RunFailed(run)

    async def resume(
        self,
        payload: Json = None,
        *,
        wait_id: int | None = None,
        any_wait: bool = False,
        wait_key: str = "",
        resumed_by: str = "",
    ) -> RunReply:
        """Answers its wait; see `Client.resume_run`."""
        return await self._client.resume_run(
            self.run_id, payload, wait_id=wait_id, any_wait=any_wait, wait_key=wait_key, resumed_by=resumed_by
        )

    async def tick(self, max_steps: int = 1, *, wait: Span = 30.0) -> TickReply:
        """Gives it node entries, if it is manual."""
        return await self._client.tick_run(self.run_id, max_steps, wait=wait)

    async def cancel(self, reason: str = "", *, cancelled_by: str = "") -> RunReply:
        """Cancels it."""
        return await self._client.cancel_run(self.run_id, reason, cancelled_by=cancelled_by)

    async def pause(self, reason: str = "", *, paused_by: str = "") -> RunReply:
        """Nothing new starts until `unpause`."""
        return await self._client.pause_run(self.run_id, reason, paused_by=paused_by)

    async def unpause(self, *, unpaused_by: str = "") -> RunReply:
        """Undoes `pause`."""
        return await self._client.unpause_run(self.run_id, unpaused_by=unpaused_by)

    async def resolve(
        self,
        step_id: int,
        resolution: Literal["rerun"] | Plan | Failure | CompletedEffect,
        *,
        resolved_by: str = "",
    ) -> RunReply:
        """Decides about its parked step."""
        return await self._client.resolve_step(self.run_id, step_id, resolution, resolved_by=resolved_by)

    async def retry(self, **options: Unpack[RetryOptions]) -> RunReply:
        """Opens it again at the step it failed at; see `Client.retry_run`, which can also repair its vars."""
        return await self._client.retry_run(self.run_id, **options)

    async def migrate(
        self, workflow_version: str = "", *, node_map: Mapping[str, str] | None = None, dry_run: bool = False
    ) -> MigrateReply:
        """Moves it to another version of its workflow; see `Client.migrate_run`."""
        return await self._client.migrate_run(self.run_id, workflow_version, node_map=node_map, dry_run=dry_run)

    def watch(self, *, view: View = "full") -> RunWatch:
        """The run as it stands, then after changes, until it has ended."""
        return self._client.watch(self.run_id, view=view)

    def ledger(self, *, after_seq: int = 0, view: RecordView = "record") -> Pages[LedgerEntry]:
        """Its records as of now."""
        return self._client.list_records(self.run_id, after_seq=after_seq, view=view)

    def follow(self, *, after_seq: int = 0, view: RecordView = "record") -> Subscription:
        """Its records as they come, until the run has ended."""
        return self._client.subscribe(self.run_id, after_seq=after_seq, view=view, stop_when_terminal=True)
