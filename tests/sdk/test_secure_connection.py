"""The SDK over TLS, with client certificates and tokens, against the real server."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from perdure import Client, PermissionDenied, TlsConfig, Unauthenticated, Unavailable, Worker, Workflow
from perdure_server.app import open_server
from perdure_server.config import Config
from tests.sdk.fake_server import WITHIN_S

PEM = Path(__file__).parents[1] / "api" / "certificates"
SECRET = "0123456789abcdef"


@asynccontextmanager
async def guarded(tmp_path: Path) -> AsyncGenerator[str]:
    """A server that wants a client certificate and a token for the namespace "default"; its address."""
    tokens = tmp_path / "tokens"
    tokens.write_text(f"ci {SECRET} default\n")
    config = Config(
        store="memory:",
        listen="127.0.0.1:0",
        tls_cert=PEM / "server.pem",
        tls_key=PEM / "server.key",
        client_ca=PEM / "ca.pem",
        token_file=tokens,
        drain_seconds=0.5,
    )
    async with open_server(config) as app:
        yield app.address


def tls(certificate: str = "client") -> TlsConfig:
    """Trusts the server's authority and shows a certificate."""
    return TlsConfig(
        ca=PEM / "ca.pem", cert=(PEM / f"{certificate}.pem").read_bytes(), key=str(PEM / f"{certificate}.key")
    )


async def test_calls_streams_and_workers_go_over_mutual_tls_with_a_token(tmp_path: Path) -> None:
    order = Workflow("order")

    @order.node("work", next="end")
    async def work(_: object) -> None:
        """Nothing."""

    order.complete_node("end", {"ok": True})
    async with guarded(tmp_path) as address, Client.connect(address, token=SECRET, tls=tls()) as client:
        worker = Worker(client)
        worker.serve(order)
        async with worker:
            run = await client.start(order)
            assert await run.result(timeout=WITHIN_S) == {"ok": True}
            async with run.follow() as records:
                seqs = [record.seq async for record in records]
            assert seqs == list(range(1, len(seqs) + 1))


async def test_who_is_not_let_in_is_told(tmp_path: Path) -> None:
    async with guarded(tmp_path) as address:
        async with Client.connect(address, tls=tls()) as nobody:
            with pytest.raises(Unauthenticated) as unknown:
                await nobody.get_run("r")
            worker = Worker(nobody)
            with pytest.raises(Unauthenticated):
                await worker.run()
        async with Client.connect(address, token=SECRET, tls=tls(), namespace="other") as elsewhere:
            with pytest.raises(PermissionDenied) as denied:
                await elsewhere.get_run("r")
        with pytest.raises(Unavailable):
            await Client.connect(address, token=SECRET, connect_timeout=0.2).__aenter__()
    assert (unknown.value.reason, denied.value.reason) == ("UNAUTHENTICATED", "NAMESPACE_DENIED")


async def test_the_name_in_the_certificate_can_be_given(tmp_path: Path) -> None:
    async with guarded(tmp_path) as address:
        config = TlsConfig(ca=PEM / "ca.pem", cert=PEM / "client.pem", key=PEM / "client.key", server_name="localhost")
        async with Client.connect(address, token=SECRET, tls=config) as client:
            assert (await client.get_server_info()).store_kind == "memory"
