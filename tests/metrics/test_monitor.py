"""/metrics, /healthz and /readyz of a whole server in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import grpc.aio
import pytest

from perdure import Client, NodeContext, Worker, Workflow, effect, plan
from perdure_server.app import App, open_server
from perdure_server.config import Config, ConfigError
from perdure_server.kernel.limits import SECOND_US
from perdure_server.metrics import http_server
from perdure_server.metrics.families import OWN, PROCESS, Family
from perdure_server.metrics.readings import MOST_QUEUES
from tests.metrics.http_client import exchange, fetch

LIMIT_S = 30.0


@asynccontextmanager
async def monitored() -> AsyncGenerator[App]:
    config = Config(store="memory:", listen="127.0.0.1:0", metrics_listen="127.0.0.1:0")
    async with open_server(config) as app:
        yield app


order = Workflow("order")


@order.node("ask")
async def ask(ctx: NodeContext):
    return effect.ask_user("Approve?", result_key="answer", next="done")


@order.node("done")
async def done(ctx: NodeContext):
    return plan.complete({"answer": ctx.vars["answer"]})


@asynccontextmanager
async def working(client: Client) -> AsyncGenerator[None]:
    worker = Worker(client)
    worker.serve(order)
    async with worker:
        yield


async def start_unserved(client: Client, queue: str) -> None:
    """A run whose first task waits in a queue that nobody serves."""
    workflow = Workflow(queue)
    workflow.node("wait", queue=queue)(done)
    await client.register_workflow(workflow)
    await client.start(workflow)


def kind_and_labels(family: Family) -> tuple[str, set[str]]:
    return family.kind, set(family.labels)


async def test_every_metric_is_there_under_its_name_kind_and_labels() -> None:
    async with monitored() as app, Client.connect(app.address) as client:
        async with working(client):
            run = await client.start(order)
            await run.wait()
        await start_unserved(client, "nobody")
        page = await fetch(app.metrics_address, "/metrics")
    assert page.headers["content-type"].startswith("text/plain; version=0.0.4")
    expected = {family.name: kind_and_labels(family) for family in (*OWN, *PROCESS)}
    assert page.families() == expected


async def test_what_happened_is_counted() -> None:
    async with monitored() as app, Client.connect(app.address) as client, working(client):
        run = await client.start(order)
        state = await run.wait()
        assert state.waiting
        page = await fetch(app.metrics_address, "/metrics")
        assert page.value("perdure_runs", activity="waiting") == 1
        assert page.value("perdure_records_total", kind="run_started") == 1
        assert page.value("perdure_records_total", kind="completed") == 0
        assert page.value("perdure_commits_total") == page.value("perdure_commit_batch_size_sum")
        assert page.value("perdure_commit_seconds_count") >= 1
        assert page.value("perdure_worker_streams") == 1
        assert page.value("perdure_leases_held") == 0
        assert page.value("perdure_requests_total", method="perdure.v1.RunService/StartRun", code="OK") == 1
        assert page.value("perdure_request_seconds_count", method="perdure.v1.RunService/StartRun") == 1
        await run.resume("yes", wait_id=state.waiting.wait_id)
        await run.result()
        page = await fetch(app.metrics_address, "/metrics")
        assert page.value("perdure_records_total", kind="completed") == 1


async def test_refusals_are_counted_by_code_and_invented_methods_under_one_name() -> None:
    async with monitored() as app, grpc.aio.insecure_channel(app.address) as channel:
        for name in ("/perdure.v1.RunService/GetRun", "/made.Up/Name1", "/made.Up/Name2"):
            with pytest.raises(grpc.aio.AioRpcError):
                await channel.unary_unary(name)(b"")
        page = await fetch(app.metrics_address, "/metrics")
    assert page.value("perdure_requests_total", method="perdure.v1.RunService/GetRun", code="INVALID_ARGUMENT") == 1
    assert page.value("perdure_requests_total", method="(unknown)", code="UNIMPLEMENTED") == 2
    assert "made.Up" not in page.body


async def test_labels_of_queues_are_bounded() -> None:
    async with monitored() as app, Client.connect(app.address) as client:
        for number in range(MOST_QUEUES + 7):
            await start_unserved(client, f"queue-{number:03}")
        page = await fetch(app.metrics_address, "/metrics")
    assert page.body.count("perdure_queue_tasks{") == MOST_QUEUES + 1
    assert page.value("perdure_queue_tasks", namespace="(other)", queue="(other)") == 7
    assert page.value("perdure_queue_tasks", namespace="default", queue="queue-000") == 1
    assert page.value("perdure_queue_oldest_task_seconds", namespace="default", queue="queue-000") >= 0


async def test_probes_follow_the_drain() -> None:
    async with monitored() as app:
        assert (await fetch(app.metrics_address, "/healthz")).status == 200
        assert (await fetch(app.metrics_address, "/readyz")).status == 200
        app.edge.guard.draining = True
        app.edge.server.health.drain()
        ready = await fetch(app.metrics_address, "/readyz")
        assert (ready.status, ready.body) == (503, "draining\n")
        assert (await fetch(app.metrics_address, "/healthz")).status == 200
        page = await fetch(app.metrics_address, "/metrics")
        assert page.value("perdure_draining") == 1
        assert page.value("perdure_ready") == 0


async def test_metrics_answer_while_the_store_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    async with monitored() as app:
        app.runtime.store.close()
        page = await fetch(app.metrics_address, "/metrics")
        assert page.status == 200
        assert "perdure_runs{" not in page.body
        assert page.value("perdure_draining") == 0


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"POST /metrics HTTP/1.1\r\n\r\n", 405),
        (b"HEAD /metrics HTTP/1.1\r\n\r\n", 200),
        (b"GET /secrets HTTP/1.1\r\n\r\n", 404),
        (b"GET /healthz?verbose=1 HTTP/1.0\r\n\r\n", 200),
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01\x00\r\n\r\n", 400),
        (b"GET /healthz SPDY/3\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", 431),
    ],
)
async def test_only_get_of_known_pages_is_answered(data: bytes, status: int) -> None:
    async with monitored() as app:
        page = await exchange(app.metrics_address, data)
    assert page.status == status
    assert (page.body == "") == data.startswith(b"HEAD")


async def test_connections_are_bounded_and_slow_ones_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "MOST_CONNECTIONS", 3)
    monkeypatch.setattr(http_server, "PATIENCE_S", 0.5)
    async with monitored() as app, asyncio.timeout(LIMIT_S):
        host, _, port = app.metrics_address.rpartition(":")
        idle = [await asyncio.open_connection(host, int(port)) for _ in range(3)]
        with pytest.raises((OSError, IndexError, ValueError)):
            await fetch(app.metrics_address, "/healthz")
        for reader, writer in idle:
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await reader.readexactly(1)
            writer.close()
        assert (await fetch(app.metrics_address, "/healthz")).status == 200


async def test_a_stop_does_not_wait_for_idle_connections() -> None:
    async with asyncio.timeout(LIMIT_S), monitored() as app:
        host, _, port = app.metrics_address.rpartition(":")
        _, writer = await asyncio.open_connection(host, int(port))
        assert app.monitor is not None
        await app.monitor.stop()
        writer.close()


async def test_a_block_of_the_event_loop_is_measured() -> None:
    async with monitored() as app:
        assert app.monitor is not None
        await app.monitor.http.stop()
        clock = app.runtime.engine.clock
        until = clock.monotonic() + SECOND_US
        while clock.monotonic() < until:
            pass
        readings = app.monitor.lag
        await app.monitor.loop.next_pass()
        assert sum(readings.counts[-4:]) >= 1


@pytest.mark.parametrize(
    ("listen", "problem"),
    [
        ("0.0.0.0:9464", "--metrics-open"),
        ("[::]:9464", "--metrics-open"),
        ("9464", "HOST:PORT"),
        ("localhost:http", "HOST:PORT"),
    ],
)
def test_other_addresses_than_loopback_are_asked_for(listen: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        Config(metrics_listen=listen).check()


def test_an_open_address_is_accepted_when_it_is_meant() -> None:
    Config(metrics_listen="0.0.0.0:9464", metrics_open=True).check()
