"""One store and the servers that live on it, without threads, network or chance: what it does depends on what it is
asked, in which order, and on nothing else."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from google.protobuf.message import Message

from perdure_server.api.admin_service import AdminService
from perdure_server.api.codec.engine_codec import EngineCodec
from perdure_server.api.errors import PublicError, public_error
from perdure_server.api.guard import current_caller
from perdure_server.api.ledger_service import LedgerService
from perdure_server.api.run_service import RunService
from perdure_server.api.sealed_header import inspect_record
from perdure_server.api.worker_service import WorkerService
from perdure_server.api.workflow_service import WorkflowService
from perdure_server.clock import VirtualClock
from perdure_server.kernel.limits import Limits
from perdure_server.kernel.model import RunState
from perdure_server.kernel.records import Record
from perdure_server.runtime import Runtime
from perdure_server.storage.port import Store, StoredPayload
from tests.differential.grounds import Fence, Ground, Wrap
from tests.differential.still_loop import still_loop

VERSION: Final = "0.0.0"
QUANTUM_US: Final = 50_000
"""By so much time goes on while a call waits."""
QUANTA: Final = 200

LIMITS: Final = Limits(keyframe_records=16, page_size=50)
"""Keyframes come early, so that runs are often loaded from one."""


class SeededCodec(EngineCodec):
    """The server's codec with salts that a seed gives: so hashes are equal where records are."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def encode_record(
        self, run: RunState, record: Record, new_salts: Callable[[int], list[bytes]]
    ) -> tuple[bytes, tuple[StoredPayload, ...]]:
        """See `EngineCodec`."""
        return super().encode_record(run, record, self._salts)

    def _salts(self, count: int) -> list[bytes]:
        return [self._random.randbytes(16) for _ in range(count)]


@dataclass(frozen=True)
class Reply:
    """What a caller sees: an answer, an error, or (neither) that the server died first."""

    method: str
    message: Message | bytes | None = None
    error: PublicError | None = None

    @property
    def succeeded(self) -> bool:
        """Whether it is an answer."""
        return self.message is not None


class DefectError(AssertionError):
    """A call met an error that no caller should ever meet."""


class World:
    """A store, the server that lives on it now, its clock and its source of ids.

    Args:
        ground: where the data is.
        seed: of ids and salts.
    """

    def __init__(self, ground: Ground, seed: int) -> None:
        self.name = ground.name
        self.clock = VirtualClock()
        self.lives = 0
        self._ground = ground
        self.wrap: Wrap = lambda store: store
        """Put around the store in each life, for tests of the oracle itself."""
        self._codec = SeededCodec(seed)
        self._ids = 0
        self._fence: Fence
        self._services: Sequence[Any] = ()
        self.runtime: Runtime

    async def begin(self) -> None:
        """The first or the next life."""
        self.lives += 1
        self._fence = Fence(self.wrap(self._ground.open()))
        store = self._fence.as_store()
        runtime = Runtime(store, self._codec, inspect_record, self.clock, LIMITS, inline=True)
        runtime.engine.new_id = self._new_id
        self.runtime = runtime
        engine, dispatcher = runtime.engine, runtime.dispatcher
        self._services = (
            RunService(engine, dispatcher.blocked_run, dispatcher.blocked_task),
            WorkflowService(engine),
            WorkerService(dispatcher, LIMITS, current_caller, VERSION),
            LedgerService(runtime.ledger, LIMITS, current_caller, engine.catalog.require_namespace),
            AdminService(engine, dispatcher.workers, dict[str, int], VERSION),
        )
        await runtime.start()
        await still_loop().still()

    @property
    def store(self) -> Store:
        """The store, as its server sees it."""
        return self._fence.as_store()

    async def ask(self, method: str, request: Message) -> Reply:
        """Makes a call; returns when it is answered and all is still. Time goes on while it waits."""
        call = self._call(method, request)
        await still_loop().still()
        for _ in range(QUANTA):
            if call.done():
                break
            await self.advance(QUANTUM_US)
        else:
            call.cancel()
            raise DefectError(f"{self.name}: {method} is not answered within {QUANTA * QUANTUM_US // 1_000_000} s")
        return self._reply(method, call)

    async def advance(self, delta_us: int) -> None:
        """Time goes on; returns when all that is due then is done."""
        self.clock.advance(delta_us)
        await still_loop().still()

    async def die(self, method: str = "", request: Message | None = None, passes: int = 0) -> Reply:
        """The server dies, perhaps while it handles a call, and the next one begins.

        Args:
            passes: of the event loop, from the call to the death.
        """
        call = self._call(method, request) if request is not None else None
        for _ in range(passes):
            await asyncio.sleep(0)
        reply = self._reply(method, call) if call is not None and call.done() else Reply(method)
        self._fence.dead = True
        if call is not None:
            call.cancel()
            await asyncio.wait([call])
        await self.runtime.stop()
        await still_loop().still()
        self._ground.crash()
        await self.begin()
        return reply

    async def end(self) -> None:
        """Stops the server, whatever state it is in."""
        self._fence.dead = True
        await self.runtime.stop()
        self._ground.close()

    def _call(self, method: str, request: Message) -> asyncio.Task[Any]:
        copy = type(request)()
        copy.CopyFrom(request)
        handler = next(getattr(service, method) for service in self._services if hasattr(service, method))
        return asyncio.get_running_loop().create_task(handler(copy, cast(Any, None)))

    def _reply(self, method: str, call: asyncio.Task[Any]) -> Reply:
        error = call.exception()
        if error is None:
            return Reply(method, call.result())
        public = public_error(error) if isinstance(error, Exception) else None
        if public is None:
            raise DefectError(f"{self.name}: {method} met {error!r}") from error
        return Reply(method, error=public)

    def _new_id(self) -> str:
        self._ids += 1
        return f"id-{self._ids:06}"
