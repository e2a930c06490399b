"""The client for scripts: the same methods without `await`.

    from perdure.sync import Client

    with Client.connect("localhost:7171") as client:
        run = client.start("order", {"total": 12})
        print(run.result())

Every method is the asynchronous one, run on an event loop in a thread; what it takes, returns and raises is
documented there. A program that has an event loop uses `perdure.Client` on it instead.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, Self, TypeVar, Unpack, overload

from perdure.client import Client as AsyncClient
from perdure.client import Connecting
from perdure.json_text import JsonObject
from perdure.ledger import LedgerBatch, LedgerEntry
from perdure.model import RunState
from perdure.pages import Page
from perdure.pages import Pages as AsyncPages
from perdure.portal import Portal
from perdure.run_handle import RunHandle as AsyncRunHandle
from perdure.runs import StartOptions
from perdure.subscription import RunWatch as AsyncRunWatch
from perdure.subscription import Subscription as AsyncSubscription
from perdure.workflow import Workflow

_P = ParamSpec("_P")
_T = TypeVar("_T")
_Item = TypeVar("_Item")


class _Facade(Protocol):
    """Something with an asynchronous half and a portal to run it."""

    @property
    def portal(self) -> Portal:
        """Where the asynchronous half runs."""
        ...

    @property
    def asynchronous(self) -> Any:
        """The asynchronous half."""
        ...


class _Blocking(Generic[_P, _T]):
    """A coroutine method of the asynchronous half, waited for."""

    def __init__(self, method: Callable[Concatenate[Any, _P], Coroutine[Any, Any, _T]]) -> None:
        self._method = method
        self.__doc__ = method.__doc__

    @overload
    def __get__(self, instance: None, owner: object) -> Self: ...
    @overload
    def __get__(self, instance: _Facade, owner: object) -> Callable[_P, _T]: ...
    def __get__(self, instance: _Facade | None, owner: object) -> Self | Callable[_P, _T]:
        if instance is None:
            return self
        method = self._method

        @functools.wraps(method)
        def call(*args: _P.args, **kwargs: _P.kwargs) -> _T:
            return instance.portal.run(method(instance.asynchronous, *args, **kwargs))

        return call


class _Wrapping(Generic[_P, _T, _Item]):
    """A plain method of the asynchronous half whose result is wrapped."""

    def __init__(self, method: Callable[Concatenate[Any, _P], _T], wrap: Callable[[Portal, _T], _Item]) -> None:
        self._method = method
        self._wrap = wrap
        self.__doc__ = method.__doc__

    @overload
    def __get__(self, instance: None, owner: object) -> Self: ...
    @overload
    def __get__(self, instance: _Facade, owner: object) -> Callable[_P, _Item]: ...
    def __get__(self, instance: _Facade | None, owner: object) -> Self | Callable[_P, _Item]:
        if instance is None:
            return self
        method, wrap = self._method, self._wrap

        @functools.wraps(method)
        def call(*args: _P.args, **kwargs: _P.kwargs) -> _Item:
            async def make() -> _T:
                return method(instance.asynchronous, *args, **kwargs)

            return wrap(instance.portal, instance.portal.run(make()))

        return call


class _Streaming(Generic[_P, _T]):
    """An asynchronous generator of the asynchronous half, iterated over."""

    def __init__(self, method: Callable[Concatenate[Any, _P], AsyncIterator[_T]]) -> None:
        self._method = method
        self.__doc__ = method.__doc__

    @overload
    def __get__(self, instance: None, owner: object) -> Self: ...
    @overload
    def __get__(self, instance: _Facade, owner: object) -> Callable[_P, Iterator[_T]]: ...
    def __get__(self, instance: _Facade | None, owner: object) -> Self | Callable[_P, Iterator[_T]]:
        if instance is None:
            return self
        method = self._method

        @functools.wraps(method)
        def call(*args: _P.args, **kwargs: _P.kwargs) -> Iterator[_T]:
            return _each(instance.portal, method(instance.asynchronous, *args, **kwargs))

        return call


def _each(portal: Portal, items: AsyncIterator[_Item]) -> Iterator[_Item]:
    ended = object()

    async def step() -> Any:
        return await anext(items, ended)

    while (item := portal.run(step())) is not ended:
        yield item


class Pages(Generic[_T]):
    """A list, fetched as it is read."""

    def __init__(self, portal: Portal, pages: AsyncPages[_T]) -> None:
        self.portal = portal
        self.asynchronous = pages

    def page(self, page_token: str = "") -> Page[_T]:
        """One page; see `perdure.Pages.page`."""
        return self.portal.run(self.asynchronous.page(page_token))

    def __iter__(self) -> Iterator[_T]:
        token = ""
        while True:
            page = self.page(token)
            yield from page.items
            token = page.next_page_token
            if not token:
                return

    def all(self) -> list[_T]:
        """Every item; mind the length."""
        return list(self)


class _Stream(Generic[_T]):
    """An asynchronous iterator that is also a context manager, waited for."""

    def __init__(self, portal: Portal, asynchronous: Any) -> None:
        self.portal = portal
        self.asynchronous: Any = asynchronous

    def __enter__(self) -> Self:
        self.portal.run(self.asynchronous.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.portal.run(self.asynchronous.__aexit__(kind, error, traceback))

    def __iter__(self) -> Iterator[_T]:
        return _each(self.portal, self.asynchronous)


class Subscription(_Stream[LedgerEntry]):
    """Follows the ledger; see `perdure.Subscription`."""

    def __init__(self, portal: Portal, asynchronous: AsyncSubscription) -> None:
        super().__init__(portal, asynchronous)
        self._subscription = asynchronous

    def batches(self) -> Iterator[LedgerBatch]:
        """Entries as they come together, with the cursor that covers them."""
        return _each(self.portal, self._subscription.batches())

    @property
    def cursor(self) -> str:
        """Covers every entry that was taken from here."""
        return self._subscription.cursor

    @property
    def is_caught_up(self) -> bool:
        """What existed has been sent."""
        return self._subscription.is_caught_up


class RunWatch(_Stream[RunState]):
    """Watches a run; see `perdure.RunWatch`."""

    def __init__(self, portal: Portal, asynchronous: AsyncRunWatch) -> None:
        super().__init__(portal, asynchronous)


class RunHandle:
    """A run; see `perdure.RunHandle`."""

    def __init__(self, portal: Portal, asynchronous: AsyncRunHandle) -> None:
        self.portal = portal
        self.asynchronous = asynchronous

    @property
    def run_id(self) -> str:
        """The run."""
        return self.asynchronous.run_id

    def __repr__(self) -> str:
        return repr(self.asynchronous)

    state = _Blocking(AsyncRunHandle.state)
    wait = _Blocking(AsyncRunHandle.wait)
    result = _Blocking(AsyncRunHandle.result)
    resume = _Blocking(AsyncRunHandle.resume)
    tick = _Blocking(AsyncRunHandle.tick)
    cancel = _Blocking(AsyncRunHandle.cancel)
    pause = _Blocking(AsyncRunHandle.pause)
    unpause = _Blocking(AsyncRunHandle.unpause)
    resolve = _Blocking(AsyncRunHandle.resolve)
    retry = _Blocking(AsyncRunHandle.retry)
    migrate = _Blocking(AsyncRunHandle.migrate)
    watch = _Wrapping(AsyncRunHandle.watch, RunWatch)
    ledger = _Wrapping(AsyncRunHandle.ledger, Pages[LedgerEntry])
    follow = _Wrapping(AsyncRunHandle.follow, Subscription)


def _connecting(connect: Callable[_P, Connecting]) -> Callable[_P, Client]:
    @functools.wraps(connect)
    def make(*args: _P.args, **kwargs: _P.kwargs) -> Client:
        async def open() -> AsyncClient:
            return await connect(*args, **kwargs)

        return Client(open)

    return make


class Client:
    """A connection to a Perdure server and a namespace of it; see `perdure.Client`.

    Args:
        make: makes the asynchronous client, on the portal's loop.
    """

    def __init__(self, make: Callable[[], Coroutine[Any, Any, AsyncClient]]) -> None:
        self.portal = Portal.acquire()
        self._is_open = True
        try:
            self.asynchronous = self.portal.run(make())
        except BaseException:
            self.portal.release()
            raise

    connect = staticmethod(_connecting(AsyncClient.connect))

    def close(self) -> None:
        """Closes the connection; idempotent."""
        if self._is_open:
            self._is_open = False
            try:
                self.portal.run(self.asynchronous.close())
            finally:
                self.portal.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def start(
        self, workflow: Workflow | str, vars: JsonObject | None = None, **options: Unpack[StartOptions]
    ) -> RunHandle:
        """Starts a run and returns a handle."""
        return RunHandle(self.portal, self.portal.run(self.asynchronous.start(workflow, vars, **options)))

    def run(self, run_id: str) -> RunHandle:
        """A handle to a run that exists."""
        return RunHandle(self.portal, self.asynchronous.run(run_id))

    start_run = _Blocking(AsyncClient.start_run)
    tick_run = _Blocking(AsyncClient.tick_run)
    resume_run = _Blocking(AsyncClient.resume_run)
    get_run = _Blocking(AsyncClient.get_run)
    count_runs = _Blocking(AsyncClient.count_runs)
    wait_run = _Blocking(AsyncClient.wait_run)
    cancel_run = _Blocking(AsyncClient.cancel_run)
    pause_run = _Blocking(AsyncClient.pause_run)
    unpause_run = _Blocking(AsyncClient.unpause_run)
    resolve_step = _Blocking(AsyncClient.resolve_step)
    retry_run = _Blocking(AsyncClient.retry_run)
    retry_runs = _Streaming(AsyncClient.retry_runs)
    retry_runs_page = _Blocking(AsyncClient.retry_runs_page)
    migrate_run = _Blocking(AsyncClient.migrate_run)
    emit_event = _Blocking(AsyncClient.emit_event)
    list_runs = _Wrapping(AsyncClient.list_runs, Pages)
    list_waits = _Wrapping(AsyncClient.list_waits, Pages)
    list_events = _Wrapping(AsyncClient.list_events, Pages)
    watch = _Wrapping(AsyncClient.watch, RunWatch)

    register_workflow = _Blocking(AsyncClient.register_workflow)
    get_workflow = _Blocking(AsyncClient.get_workflow)
    validate_workflow = _Blocking(AsyncClient.validate_workflow)
    set_default_version = _Blocking(AsyncClient.set_default_version)
    list_workflows = _Wrapping(AsyncClient.list_workflows, Pages)

    verify_run = _Blocking(AsyncClient.verify_run)
    list_records = _Wrapping(AsyncClient.list_records, Pages)
    subscribe = _Wrapping(AsyncClient.subscribe, Subscription)

    create_schedule = _Blocking(AsyncClient.create_schedule)
    get_schedule = _Blocking(AsyncClient.get_schedule)
    update_schedule = _Blocking(AsyncClient.update_schedule)
    delete_schedule = _Blocking(AsyncClient.delete_schedule)
    pause_schedule = _Blocking(AsyncClient.pause_schedule)
    unpause_schedule = _Blocking(AsyncClient.unpause_schedule)
    trigger_schedule = _Blocking(AsyncClient.trigger_schedule)
    backfill_schedule = _Blocking(AsyncClient.backfill_schedule)
    preview_schedule = _Blocking(AsyncClient.preview_schedule)
    list_schedules = _Wrapping(AsyncClient.list_schedules, Pages)

    get_server_info = _Blocking(AsyncClient.get_server_info)
    audit_runs = _Blocking(AsyncClient.audit_runs)
    audit_all_runs = _Blocking(AsyncClient.audit_all_runs)
    list_workers = _Blocking(AsyncClient.list_workers)
    create_namespace = _Blocking(AsyncClient.create_namespace)
