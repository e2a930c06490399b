"""A fake server, a client of it, and workers that a test forgets to stop."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from perdure import Client, Worker
from tests.sdk.fake_server import FakeServer, Running, connected, running


@pytest.fixture
def fake() -> FakeServer:
    """What the server does."""
    return FakeServer()


@pytest.fixture
async def server(fake: FakeServer) -> AsyncIterator[Running]:
    """The fake, listening."""
    async with running(fake) as listening:
        yield listening


@pytest.fixture
async def client(server: Running) -> AsyncIterator[Client]:
    """A client of the fake."""
    async with connected(server) as client:
        yield client


@pytest.fixture
async def run(fake: FakeServer, client: Client) -> AsyncIterator[Callable[[Worker], "asyncio.Task[None]"]]:
    """Runs workers in the background and cancels them at the end."""
    tasks: list[asyncio.Task[Any]] = []

    def start(worker: Worker) -> asyncio.Task[None]:
        task = asyncio.create_task(worker.run())
        tasks.append(task)
        return task

    yield start
    fake.finish()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
def worker(client: Client) -> Worker:
    """A worker that serves nothing yet."""
    return Worker(client, max_tasks=4, worker_id="worker-1", queues=["fast", "default"])
