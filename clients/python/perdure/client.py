"""The asynchronous client."""

from __future__ import annotations

from collections.abc import Generator
from types import TracebackType
from typing import Any, Self, Unpack

from perdure.admin_calls import AdminCalls
from perdure.call_retry import CallRetryPolicy
from perdure.connection import DEFAULT_TIMEOUT_S, Connection, TlsConfig, open_channel
from perdure.json_text import JsonObject
from perdure.ledger import LedgerScope
from perdure.ledger_calls import LedgerCalls
from perdure.lifecycle_calls import LifecycleCalls
from perdure.run_calls import RunCalls
from perdure.run_handle import RunHandle
from perdure.runs import StartOptions, View
from perdure.schedule_calls import ScheduleCalls
from perdure.subscription import RunWatch, SubscribeOptions, Subscription, subscribe_request
from perdure.workflow import Workflow
from perdure.workflow_calls import WorkflowCalls

DEFAULT_TARGET = "localhost:7171"


class Client(RunCalls, LifecycleCalls, WorkflowCalls, LedgerCalls, ScheduleCalls, AdminCalls):
    """A connection to a Perdure server and a namespace of it. Keep one for the life of the process.

    Make it with `Client.connect`. Calls are repeated while they can succeed, within one deadline of 30 s (long
    polls have longer ones); see `CallRetryPolicy`.
    """

    @classmethod
    def connect(
        cls,
        target: str = DEFAULT_TARGET,
        *,
        namespace: str = "default",
        token: str | None = None,
        tls: TlsConfig | bool | None = None,
        retry: CallRetryPolicy | None = None,
        timeout: float = DEFAULT_TIMEOUT_S,
        connect_timeout: float | None = 10.0,
    ) -> Connecting:
        """Connects: `client = await Client.connect(...)`, or `async with Client.connect(...) as client:`.

        Args:
            target: host, host:port (7171 if left out), unix:path, or any gRPC name.
            namespace: the namespace of every call.
            token: bearer token; sent over TLS, or in plain text to this machine only.
            tls: True for the system's certificates, or a TlsConfig; None: plain text.
            retry: when calls are repeated.
            timeout: deadline of a unary call in seconds, repeats included.
            connect_timeout: how long to wait for the server; None: not at all, the first call does.

        Raises:
            Unavailable: (when awaited) no server answered in time.
            ValueError: the token would travel in plain text to another machine.
        """

        def reopen() -> Any:
            return open_channel(target, token=token, tls=tls)

        def make() -> Client:
            connection = Connection(
                reopen(), namespace=namespace, token=token, retry=retry, timeout=timeout, reopen=reopen
            )
            return cls(connection)

        return Connecting(make, target, connect_timeout)

    async def close(self) -> None:
        """Closes the connection; calls under way end."""
        await self._connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def start(
        self, workflow: Workflow | str, vars: JsonObject | None = None, **options: Unpack[StartOptions]
    ) -> RunHandle:
        """Starts a run and returns a handle; see `start_run`."""
        workflow_id = workflow.workflow_id if isinstance(workflow, Workflow) else workflow
        reply = await self.start_run(workflow_id, vars, **options)
        return RunHandle(self, reply.run_id)

    def run(self, run_id: str) -> RunHandle:
        """A handle to a run that exists; nothing is asked of the server."""
        return RunHandle(self, run_id)

    def watch(self, run_id: str, *, view: View = "full") -> RunWatch:
        """The run as it stands, then again after changes, until it has ended."""
        return RunWatch(self._connection, run_id, view)

    def subscribe(self, scope: LedgerScope | str, **options: Unpack[SubscribeOptions]) -> Subscription:
        """Follows the ledger of a scope (a string is a run id); see SubscribeOptions and Subscription."""
        return Subscription(self._connection, subscribe_request(self._connection.namespace, scope, options))


class Connecting:
    """What `Client.connect` returns: await it for a client, or enter it for one that is closed on leaving."""

    def __init__(self, make: Any, target: str, timeout: float | None) -> None:
        self._make = make
        self._target = target
        self._timeout = timeout
        self._client: Client | None = None

    def __await__(self) -> Generator[Any, None, Client]:
        return self._open().__await__()

    async def __aenter__(self) -> Client:
        self._client = await self._open()
        return self._client

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._client is not None:
            await self._client.close()

    async def _open(self) -> Client:
        client: Client = self._make()
        if self._timeout is not None:
            try:
                await client.connection.wait_ready(self._target, self._timeout)
            except BaseException:
                await client.close()
                raise
        return client
