"""What stands before every handler: the boundary at which each error gets its status, authentication,
admission, draining, and the check that the bytes are a message at all.

The guard wraps handlers when they are registered, so a call costs no chain of interceptors, and sees what an
interceptor cannot: the request (for its namespace), and bytes that are no message. Handlers may answer with
bytes that are serialised already.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Mapping
from contextlib import aclosing, contextmanager
from contextvars import ContextVar
from typing import Any, Final, TypeAlias, cast

import grpc
from google.protobuf.message import DecodeError, Message
from grpc.aio import AbortError, ServicerContext

from perdure_server.api.auth import Authenticator, Caller
from perdure_server.api.errors import PublicError, defect, public_error, status_of
from perdure_server.api.problems import EdgeError
from perdure_server.clock import SystemClock
from perdure_server.kernel.limits import SECOND_US, Limits
from perdure_server.measures import CallMeasures

log = logging.getLogger(__name__)

Context: TypeAlias = ServicerContext[Any, Any]
Behavior: TypeAlias = Callable[[Any, Context], Any]

LONG_POLLS: Final = frozenset({"TickRun", "WaitRun", "PollTasks"})
"""Calls that wait by design: admitted by themselves, so that they do not keep others out."""
UNKNOWN_METHOD: Final = "(unknown)"
"""Calls of methods that nobody registered are counted under this name: theirs are the caller's to invent."""
OPEN_SERVICES: Final = ("grpc.health.",)
"""Services that anybody may call: probes have no tokens."""
DETAILS_KEY: Final = "grpc-status-details-bin"
LOGGED: Final = ("namespace", "run_id", "worker_id")
RETRY_CALL_US: Final = SECOND_US // 4

_CODE_NAMES: Final = {code.value[0]: code.name for code in grpc.StatusCode}

_CALLER: ContextVar[Caller | None] = ContextVar("perdure_caller", default=None)


class Malformed:
    """Bytes that are not the message of a method."""


MALFORMED: Final = Malformed()


def current_caller(context: Context) -> str:
    """Name of whoever makes the call that is being handled."""
    caller = _CALLER.get()
    return (caller.name if caller else "") or _Brought(context).peer()


class Guard:
    """Wraps handlers.

    Args:
        authenticator: finds out who calls.
        limits: `calls_at_once` in force.
        new_error_id: makes the ids under which defects are logged.
        monotonic: microseconds that never jump, to time calls; the machine's by default.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        limits: Limits,
        new_error_id: Callable[[], str],
        monotonic: Callable[[], int] | None = None,
    ) -> None:
        self.draining = False
        self.defects = 0
        self.refused_calls = 0
        self.turned_away = 0
        """Calls refused because the server is draining."""
        self._authenticator = authenticator
        self._limits = limits
        self._new_error_id = new_error_id
        self.calls: dict[str, CallMeasures] = {}
        """By full name of the method; those that nobody registered together as UNKNOWN_METHOD."""
        self._monotonic = monotonic or SystemClock().monotonic
        self._calls: dict[bool, int] = {False: 0, True: 0}

    def protect(self, service: str, method: str, handler: Any, *, is_known: bool = True) -> Any:
        """The handler (grpc.RpcMethodHandler) behind the guard.

        Args:
            is_known: the method was registered, its name is not just what a caller sent.
        """
        name = f"{service}/{method}"
        timed = handler.unary_unary is not None and method not in LONG_POLLS
        counted = self.calls.setdefault(name if is_known else UNKNOWN_METHOD, CallMeasures(timed=timed))
        is_open = service.startswith(OPEN_SERVICES)
        deserialize = _tolerant(handler.request_deserializer)
        serialize = _bytes_pass(handler.response_serializer)
        if handler.unary_unary is not None:
            call = self._unary(name, handler.unary_unary, is_open, method in LONG_POLLS)
            call = self._counted(counted, call)
            return grpc.unary_unary_rpc_method_handler(call, deserialize, serialize)
        if handler.unary_stream is not None:
            stream = self._counted(counted, self._stream(name, handler.unary_stream, is_open))
            return grpc.unary_stream_rpc_method_handler(stream, deserialize, serialize)
        if handler.stream_stream is not None:
            stream = self._counted(counted, self._stream(name, handler.stream_stream, is_open))
            return grpc.stream_stream_rpc_method_handler(stream, deserialize, serialize)
        raise TypeError(f"{name} streams requests only, which the guard does not know")

    @property
    def calls_under_way(self) -> int:
        """Unary calls being handled."""
        return self._calls[False] + self._calls[True]

    def _counted(self, measures: CallMeasures, call: Behavior) -> Behavior:
        """The call, counted by how it ended."""

        async def counted(request: Any, context: Context) -> Any:
            begun, code = self._monotonic(), "CANCELLED"
            try:
                reply = await call(request, context)
                code = "OK"
                return reply
            except AbortError:
                code = _code_name(context)
                raise
            finally:
                measures.add(code, self._monotonic() - begun)

        return counted

    def _unary(self, name: str, behavior: Behavior, is_open: bool, is_long: bool) -> Behavior:
        async def handle(request: Any, context: Context) -> Any:
            if is_open:
                return await behavior(_message(request), context)
            with self._admitted(is_long):
                self._enter(request, context)
                return await behavior(request, context)

        async def guarded(request: Any, context: Context) -> Any:
            return await self._bounded(name, request, context, handle(request, context))

        return guarded

    def _stream(self, name: str, behavior: Behavior, is_open: bool) -> Behavior:
        async def handle(request: Any, context: Context) -> None:
            if isinstance(request, Message | Malformed):
                _message(request)
            if not is_open:
                self._check_open()
                caller = self._enter(request, context)
                if not isinstance(request, Message | Malformed):
                    request = _messages(request, caller)
            await _run_stream(behavior, request, context)

        async def guarded(request: Any, context: Context) -> None:
            await self._bounded(name, request, context, handle(request, context))

        return guarded

    async def _bounded(self, name: str, request: Any, context: Context, work: Awaitable[Any]) -> Any:
        """The boundary: whatever goes wrong gets a status, and no trace of it leaves the server.

        A cancellation is no error: it goes on to gRPC, which leaks memory for each one swallowed.
        """
        try:
            return await work
        except AbortError:
            raise
        except Exception as error:
            public = public_error(error)
            if public is None:
                public = defect(self._new_error_id())
                self.defects += 1
                facts = {**public.metadata, "method": name, "count": self.defects, **_facts(request)}
                log.exception("a call failed by a defect", extra=facts)
            else:
                public = _completed(public, request)
            status = status_of(public)
            details = ((DETAILS_KEY, status.SerializeToString()),)
            await context.abort(public.rule.code, status.message, details)

    @contextmanager
    def _admitted(self, is_long: bool) -> Generator[None]:
        self._check_open()
        if self._calls[is_long] >= self._limits.calls_at_once:
            self.refused_calls += 1
            raise EdgeError(
                "TOO_MANY_CALLS",
                f"{self._limits.calls_at_once} calls are under way; try again",
                retry_after_us=RETRY_CALL_US,
                limit=str(self._limits.calls_at_once),
            )
        self._calls[is_long] += 1
        try:
            yield
        finally:
            self._calls[is_long] -= 1

    def _check_open(self) -> None:
        if self.draining:
            self.turned_away += 1
            raise EdgeError("DRAINING", "the server is going away; use another one", retry_after_us=SECOND_US)

    def _enter(self, request: Any, context: Context) -> Caller:
        """Identifies the caller, for whom the call then runs; a request must be theirs to make."""
        caller = self._authenticator.identify(_Brought(context))
        _CALLER.set(caller)
        if isinstance(request, Message | Malformed):
            _require(caller, _message(request))
        return caller


class UnknownMethods(grpc.GenericRpcHandler):
    """Answers calls of methods that nobody registered: gRPC's own answer has no reason."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    def service(self, handler_call_details: Any) -> Any:
        """A handler (grpc.RpcMethodHandler) that refuses, whatever is sent."""

        async def refuse(request: Any, context: Context) -> None:
            raise EdgeError("UNIMPLEMENTED", "this version has no such method; see the contract it was built from")

        service, _, method = handler_call_details.method.lstrip("/").partition("/")
        return self._guard.protect(service, method, grpc.stream_stream_rpc_method_handler(refuse), is_known=False)


class GuardedServer:
    """Takes the place of a server where generated code registers services.

    Generated code registers each method twice, in a generic handler and as a registered method; gRPC serves
    the second, so only that is passed on.
    """

    def __init__(self, server: grpc.aio.Server, guard: Guard) -> None:
        self._server = server
        self._guard = guard

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        """Nothing: see the class."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Registers the methods of a service, each behind the guard."""
        guarded = {method: self._guard.protect(service, method, handler) for method, handler in handlers.items()}
        register = cast(Any, self._server).add_registered_method_handlers
        register(service, guarded)

    def as_server(self) -> grpc.aio.Server:
        """Itself, for generated code that asks for a server by type."""
        return cast(grpc.aio.Server, self)


def _code_name(context: Context) -> str:
    """Name of the status with which a call was aborted; the context knows it as a number."""
    code: Any = context.code()
    return code.name if isinstance(code, grpc.StatusCode) else _CODE_NAMES.get(code, "UNKNOWN")


async def _run_stream(behavior: Behavior, request: Any, context: Context) -> None:
    if not inspect.isasyncgenfunction(behavior):
        await behavior(request, context)
        return
    async with aclosing(behavior(request, context)) as messages:
        async for message in messages:
            await context.write(message)


async def _messages(requests: AsyncIterator[Any], caller: Caller) -> AsyncIterator[Message]:
    """The messages of a stream, each the caller's to send."""
    async for request in requests:
        message = _message(request)
        _require(caller, message)
        yield message


def _tolerant(deserialize: Callable[[bytes], Any] | None) -> Callable[[bytes], Any] | None:
    """Gives `MALFORMED` for bytes that are no message; gRPC would answer UNKNOWN with the exception's text."""
    if deserialize is None:
        return None

    def tolerant(data: bytes) -> Any:
        try:
            return deserialize(data)
        except DecodeError:
            return MALFORMED

    return tolerant


def _bytes_pass(serialize: Callable[[Any], bytes] | None) -> Callable[[Any], bytes] | None:
    if serialize is None:
        return None

    def passing(message: Any) -> bytes:
        return message if type(message) is bytes else serialize(message)

    return passing


def _message(request: Message | Malformed) -> Message:
    if isinstance(request, Malformed):
        raise EdgeError("MALFORMED_MESSAGE", "the bytes are not the protobuf message of this method")
    return request


def _require(caller: Caller, message: Message) -> None:
    """Checks the namespace a message names, be it in a hello. Messages that name none are not bound to one."""
    if caller.namespaces is None:
        return
    owner: Any = message
    fields = message.DESCRIPTOR.fields_by_name
    for part in ("hello", "worker"):
        if part in fields:
            if not message.HasField(part):
                return
            owner = getattr(message, part)
    if "namespace" in owner.DESCRIPTOR.fields_by_name:
        caller.require(owner.namespace or "default")


class _Brought:
    """The credentials of a call, looked up in its context."""

    __slots__ = ("_context",)

    def __init__(self, context: Context) -> None:
        self._context = context

    def authorization(self) -> str:
        for key, value in self._context.invocation_metadata() or ():
            if key == "authorization" and isinstance(value, str):
                return value
        return ""

    def peer(self) -> str:
        names = self._context.auth_context().get("x509_common_name")
        return next(iter(names)).decode("utf-8", "replace") if names else self._context.peer()


def _completed(error: PublicError, request: Any) -> PublicError:
    """The error with the name of what it speaks of, where the request has it and the error has not."""
    name = error.about
    if not isinstance(request, Message) or name not in request.DESCRIPTOR.fields_by_name:
        return error
    value = getattr(request, name)
    return error.with_fact(name, value) if value and not error.metadata.get(name) else error


def _facts(request: Any) -> dict[str, str]:
    """What a log line says of a request: ids, never payloads."""
    if not isinstance(request, Message):
        return {}
    named = [name for name in LOGGED if name in request.DESCRIPTOR.fields_by_name]
    return {name: str(getattr(request, name)) for name in named}
