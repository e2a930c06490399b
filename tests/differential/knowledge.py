"""What the callers of an oracle's servers know: from the replies of the first store, which are those of all."""

from __future__ import annotations

import random
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

from google.protobuf.message import Message

from perdure.v1 import model_pb2
from perdure.v1 import worker_service_pb2 as worker
from perdure_server.storage.port import RunKey
from tests.differential.workflows import specs

T = TypeVar("T")

REMEMBERED: Final = 60
"""Runs that callers still have in mind; older ones go on without them."""


class Draw(random.Random):
    """The choices of one operation. They hang on as little as can be of what there is to choose from: take an
    earlier operation away, and most of the later ones still do what they did."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self._number = seed

    def of(self, items: Iterable[T], name: Callable[[T], object] = lambda item: item) -> T | None:
        """One of them, by its name and not by its place."""
        return min(items, key=lambda item: zlib.crc32(f"{self._number}:{name(item)}".encode()), default=None)

    def one_in(self, number: int) -> bool:
        """True as often as that."""
        return self.randrange(number) == 0

    def some(self, *items: Any) -> Any:
        """One of a fixed list."""
        return items[self.randrange(len(items))]


class Knowledge:
    """Runs, tasks, requests and versions that callers have seen."""

    def __init__(self) -> None:
        self.runs: dict[RunKey, model_pb2.RunState] = {}
        self.open: dict[RunKey, None] = {}
        """All runs that have not ended, the oldest first."""
        self.tasks: deque[tuple[str, worker.Task]] = deque(maxlen=40)
        self.sent: deque[tuple[str, Any]] = deque(maxlen=40)
        """Calls with a request id."""
        self.requests: dict[tuple[str, str, str], None] = {}
        self.scopes: dict[tuple[str, int, str], None] = {}
        """(namespace, scope, scope id) in which there may be events."""
        self.namespaces = ["default"]
        self.versions: dict[str, list[str]] = {}
        """Registered in "default"."""
        self.pages: deque[tuple[str, Any]] = deque(maxlen=10)
        """Calls that ask for the next page of a list."""
        self.specs = specs()

    def saw_run(self, run: model_pb2.RunState) -> None:
        """A run as it stands."""
        key = RunKey(run.namespace, run.run_id)
        self.runs.pop(key, None)
        self.runs[key] = run
        if run.HasField("ended_at"):
            self.open.pop(key, None)
        else:
            self.open[key] = None
        if len(self.runs) > REMEMBERED:
            del self.runs[next(iter(self.runs))]
        self.scopes[run.namespace, 1, run.session_id] = None
        self.scopes[run.namespace, 3, run.run_id] = None

    def sends(self, method: str, request: Message) -> tuple[str, str, str] | None:
        """A call is about to be made; under which name its reply may be kept: (namespace, method, request id)."""
        asked: Any = request
        if "request_id" not in request.DESCRIPTOR.fields_by_name or not asked.request_id:
            return None
        if (method, asked) not in self.sent:
            self.sent.append((method, asked))
        name = _namespace(asked), method, asked.request_id
        self.requests[name] = None
        return name

    def got_page(self, method: str, request: Any, token: str) -> None:
        """A page came, with a token for the next one."""
        following = type(request)()
        following.CopyFrom(request)
        following.page_token = token
        self.pages.append((method, following))

    def run(self, draw: Draw, fits: Callable[[model_pb2.RunState], bool] = lambda _run: True) -> model_pb2.RunState:
        """A run that fits; now and then, or if there is none, any one or one that does not exist."""
        nobody = model_pb2.RunState(namespace="default", run_id="nobody")
        if draw.one_in(30):
            return nobody
        wanted: Sequence[model_pb2.RunState] = [run for run in self.runs.values() if fits(run)]
        if not wanted or draw.one_in(8):
            wanted = list(self.runs.values())
        return draw.of(wanted, lambda run: run.run_id) or nobody


def _namespace(request: Any) -> str:
    return request.worker.namespace if "worker" in request.DESCRIPTOR.fields_by_name else request.namespace
