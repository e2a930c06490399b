"""The script: every kind of effect and every call that changes a run, one after the other.

The order of what happens inside each run is the same in every play: the next call waits until the run is where
the last one brought it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from perdure.v1 import common_pb2, model_pb2
from perdure.v1 import run_service_pb2 as runs
from perdure.v1.records_pb2 import RECORD_KIND_LATE_RESULT
from perdure.v1.workflow_service_pb2 import RegisterWorkflowRequest
from tests.robustness.checker.export import EventScopeKey
from tests.robustness.crash import workflows as w
from tests.robustness.crash.host import AstrayError, Host
from tests.robustness.crash.worker import WitnessWorker

ROOTS = (
    "ears",
    "trip",
    "walk",
    "home",
    "empty",
    "ward",
    "tardy",
    "doubt",
    "venom",
    "words",
    "sad",
    "soon",
    "rush",
    "mend",
    "move",
    "fan",
)
"""Ids of the runs that the host starts, in its order."""

START_MS = 1_200
"""A start, and a deadline, that is still ahead when a server that died at StartRun is back."""

STARTS_AHEAD = 1.5
"""On a busy machine it is so many times as far ahead as the slowest server so far took to start. The first one makes
the store, too, and takes several times as long as the next one will."""

SCOPES: tuple[EventScopeKey, ...] = (
    (common_pb2.EVENT_SCOPE_GLOBAL, ""),
    *((common_pb2.EVENT_SCOPE_SESSION, run_id) for run_id in ROOTS),
)
"""Every scope in which the script emits, or could have."""


def at_node(node_id: str) -> Callable[[model_pb2.RunState], bool]:
    """Whether a run waits at a node."""
    return lambda run: run.status == common_pb2.RUN_STATUS_WAITING and run.waiting.node_id == node_id


def waits(run: model_pb2.RunState) -> bool:
    """Whether a run waits."""
    return run.status == common_pb2.RUN_STATUS_WAITING


def ended(run: model_pb2.RunState) -> bool:
    """Whether a run has ended."""
    return run.HasField("ended_at")


def parked(run: model_pb2.RunState) -> bool:
    """Whether a run is parked."""
    return run.activity == common_pb2.RUN_ACTIVITY_PARKED


def idle(run: model_pb2.RunState) -> bool:
    """Whether a manual run has used its entries."""
    return run.activity == common_pb2.RUN_ACTIVITY_IDLE


def failed_at(node_id: str) -> Callable[[model_pb2.RunState], bool]:
    """Whether a run has failed at a node."""
    return lambda run: run.failed_step.node_id == node_id


def alone(run: model_pb2.RunState) -> bool:
    """Whether a run knows of no open child."""
    return not run.children


class Script:
    """Plays it once.

    Args:
        host: makes the calls.
        worker: executes what they ask for.
    """

    def __init__(self, host: Host, worker: WitnessWorker) -> None:
        self._host = host
        self._worker = worker
        self._versions: dict[str, str] = {}

    async def play(self) -> None:
        """Returns when all runs have ended."""
        for spec in w.specs():
            name = f"{spec.workflow_id}-{spec.entry_node}"
            reply = await self._host.change(RegisterWorkflowRequest(request_id=f"register-{name}", spec=spec))
            self._versions[name] = reply.version
        await self._start(w.LISTENER, "ears")
        await self._host.until("ears", at_node("listen"))
        await self._tour()
        await self._steps()
        await self._cancels()
        await self._late()
        await self._doubts()
        await self._declared()
        await self._timed()
        await self._mended()
        await self._moved()
        await self._fan()
        for run_id in ROOTS:
            await self._host.until(run_id, ended)

    async def _tour(self) -> None:
        await self._start(w.TOUR, "trip")
        await self._host.until("trip", at_node("gate"))
        await self._emit("early", '{"n":1}')
        await self._emit("early", '{"n":2}', event_id="second")
        await self._resume("trip", "gate", '"yes"')
        await self._host.until("trip", at_node("late"))
        await self._emit("late", '"a text"')
        await self._host.until("trip", at_node("ask"))
        await self._host.change(runs.PauseRunRequest(run_id="trip", request_id="pause", reason="tea", paused_by="ann"))
        await self._resume("trip", "ask", '"blue"')
        await self._host.change(runs.UnpauseRunRequest(run_id="trip", request_id="unpause", unpaused_by="ann"))
        run = await self._host.until("trip", at_node("meeting"))
        await self._resume(run.children[0].run_id, "stay", "true")
        await self._host.until("trip", alone)
        await self._resume("trip", "meeting", "null")
        await self._resume("trip", "job", '{"job":"done"}')
        await self._host.until("trip", ended)

    async def _steps(self) -> None:
        await self._start(w.STEPS, "walk", drive=common_pb2.DRIVE_MODE_MANUAL)
        await self._tick(1)
        await self._host.until("walk", idle)
        await self._tick(5)
        await self._host.until("walk", ended)

    async def _cancels(self) -> None:
        await self._start(w.HOUSE, "home")
        run = await self._host.until("home", at_node("hold"))
        await self._host.until(run.children[0].run_id, at_node("stay"))
        await self._cancel("home", "fire")
        await self._host.until("home", lambda run: at_node("tidy")(run) and alone(run))
        await self._resume("home", "tidy", '"out"')
        await self._host.until("home", ended)
        await self._start(w.PLAIN, "empty")
        await self._host.until("empty", at_node("ask"))
        await self._cancel("empty", "")
        await self._start(w.WARD, "ward")
        await self._host.until("ward", at_node("hold"))
        await self._host.until("kid-cancel", at_node("stay"))
        await self._cancel("kid-cancel", "no visitors")
        await self._host.until("ward", ended)

    async def _late(self) -> None:
        """A report that comes after its run was cancelled is kept."""
        await self._start(w.TARDY, "tardy")
        await self._worker.withholds.wait()
        await self._cancel("tardy", "too slow")
        await self._host.streamed("tardy", RECORD_KIND_LATE_RESULT)

    async def _doubts(self) -> None:
        await self._start(w.DOUBT, "doubt")
        await self._resolve("doubt", "first", completed=runs.CompletedStep(result_json='{"by":"hand"}'))
        await self._resolve("doubt", "second", rerun=runs.RerunStep())
        failure = common_pb2.Failure(type="GAVE_UP", message="it did not happen", details_json="[]")
        await self._resolve("doubt", "third", failed=failure)
        await self._host.until("doubt", ended)
        await self._start(w.POISON, "venom")
        await self._resolve("venom", "sip", failed=common_pb2.Failure(type="POISONOUS", message="nobody takes it"))
        await self._host.until("venom", ended)

    async def _declared(self) -> None:
        await self._start(w.DECLARED, "words", vars_json='{"name":"Ann","results":{"a":1.0}}', labels={"team": "blue"})
        await self._host.until("words", ended)
        await self._start(w.BROKEN, "sad")
        await self._host.until("sad", ended)

    async def _timed(self) -> None:
        reply = await self._start(w.PLAIN, "soon", start_at=self._ahead())
        if reply.activity != common_pb2.RUN_ACTIVITY_BACKOFF:
            raise AstrayError("the start of run soon had passed when StartRun was taken: servers come back too slowly")
        await self._resume("soon", "ask", '"here"')
        reply = await self._start(w.HASTY, "rush", deadline=self._ahead())
        if reply.activity != common_pb2.RUN_ACTIVITY_WAITING:
            raise AstrayError(
                "the deadline of run rush had passed when StartRun was taken: servers come back too slowly"
            )
        await self._host.until("rush", ended)

    async def _mended(self) -> None:
        """One run that fails three times: of an effect, of one that may have been executed, of what its vars lack."""
        await self._start(w.MENDED, "mend")
        await self._retry("mend", "pay")
        await self._retry("mend", "send")
        await self._resolve("mend", "send", completed=runs.CompletedStep(result_json='{"by":"hand"}'))
        repair = model_pb2.VarsOp(path="/mended", set_json='{"by":"eve"}')
        await self._retry("mend", "make", from_node=True, vars_ops=[repair], pause=True)
        await self._host.change(runs.UnpauseRunRequest(run_id="mend", request_id="unpause-mend", unpaused_by="eve"))
        await self._host.until("mend", ended)

    async def _moved(self) -> None:
        await self._start(w.MOVED, "move")
        await self._host.until("move", at_node("ask"))
        await self._host.change(
            runs.MigrateRunRequest(
                run_id="move",
                request_id="migrate",
                workflow_version=self._versions[f"{w.MOVED}-question"],
                node_map={"ask": "question", "end": "finish"},
                migrated_by="eve",
            )
        )
        await self._resume("move", "question", '"there"')
        await self._host.until("move", ended)

    async def _fan(self) -> None:
        await self._start(w.FAN, "fan", vars_json='{"list":[3,1,2]}')
        both = await self._branches("fan", "both")
        await self._resume(both["both/left"], "left", '"l"')
        await self._host.until("fan", lambda run: run.waiting.joined == 1)
        await self._resume(both["both/right"], "right", '"r"')
        race = await self._branches("fan", "race")
        await self._resume(race["race/fast"], "fast", '"f"')
        await self._host.until("fan", lambda run: at_node("calm")(run) and alone(run))
        await self._resume("fan", "calm", "null")
        await self._host.until("fan", ended)

    async def _branches(self, run_id: str, node_id: str) -> dict[str, str]:
        """Ids of the two branches that a run joins at a node, by branch, once all of them wait."""
        run = await self._host.until(run_id, lambda run: at_node(node_id)(run) and len(run.children) == 2)
        found = [await self._host.until(child.run_id, waits) for child in run.children]
        return {branch.branch: branch.run_id for branch in found}

    # One call each.

    async def _start(self, workflow_id: str, run_id: str, **fields: Any) -> runs.StartRunResponse:
        return await self._host.change(
            runs.StartRunRequest(
                run_id=run_id, request_id=f"start-{run_id}", workflow_id=workflow_id, actor_id="script", **fields
            )
        )

    async def _emit(self, name: str, payload_json: str, event_id: str = "") -> None:
        await self._host.change(
            runs.EmitEventRequest(
                request_id=f"emit-{name}-{event_id}",
                scope_id="trip",
                name=name,
                payload_json=payload_json,
                event_id=event_id,
                emitted_by="host",
            )
        )

    async def _resume(self, run_id: str, node_id: str, payload_json: str) -> None:
        """Answers the wait of a node; while the run is paused, too."""
        run = await self._host.until(run_id, lambda run: run.waiting.node_id == node_id)
        workflow = f"{run.workflow_id}-{run.depth}-{run.session_id}"
        await self._host.change(
            runs.ResumeRunRequest(
                run_id=run_id,
                request_id=f"resume-{workflow}-{node_id}",
                wait_id=run.waiting.wait_id,
                payload_json=payload_json,
                resumed_by="bob",
            )
        )

    async def _resolve(self, run_id: str, node_id: str, **resolution: Any) -> None:
        run = await self._host.until(run_id, lambda run: parked(run) and run.step.node_id == node_id)
        await self._host.change(
            runs.ResolveStepRequest(
                run_id=run_id,
                request_id=f"resolve-{node_id}",
                step_id=run.step.step_id,
                resolved_by="carol",
                **resolution,
            )
        )

    async def _retry(self, run_id: str, node_id: str, **terms: Any) -> None:
        """Opens a run again that has failed at a node, or is about to."""
        await self._host.until(run_id, failed_at(node_id))
        await self._host.change(
            runs.RetryRunRequest(run_id=run_id, request_id=f"retry-{node_id}", retried_by="eve", **terms)
        )

    async def _cancel(self, run_id: str, reason: str) -> None:
        await self._host.change(
            runs.CancelRunRequest(run_id=run_id, request_id=f"cancel-{run_id}", reason=reason, cancelled_by="dan")
        )

    def _ahead(self) -> Timestamp:
        """An instant that is still ahead when a server that died is back."""
        return _in_ms(max(START_MS, round(STARTS_AHEAD * self._host.slowest_start_s * 1_000)))

    async def _tick(self, steps: int) -> None:
        request = runs.TickRunRequest(run_id="walk", request_id=f"tick-{steps}", max_steps=steps)
        request.wait.FromMilliseconds(1)
        await self._host.change(request)


def _in_ms(milliseconds: int) -> Timestamp:
    instant = Timestamp()
    instant.FromMicroseconds(time.time_ns() // 1_000 + milliseconds * 1_000)
    return instant
