"""Pages of a server's monitoring, fetched without blocking the event loop that serves them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families


@dataclass(frozen=True)
class Page:
    """An answer over HTTP."""

    status: int
    headers: dict[str, str]
    body: str

    def value(self, name: str, **labels: str) -> float:
        """The one sample of a name with exactly these labels. Raises: KeyError if there is none."""
        for family in text_string_to_metric_families(self.body):
            for sample in family.samples:
                if sample.name == name and sample.labels == labels:
                    return sample.value
        raise KeyError(f"{name} {labels}")

    def families(self) -> dict[str, tuple[str, set[str]]]:
        """Kind and labels by name; labels of a histogram without its own `le`."""
        found: dict[str, tuple[str, set[str]]] = {}
        for family in text_string_to_metric_families(self.body):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            labels = {label for sample in family.samples for label in sample.labels} - {"le"}
            found[name] = family.type, labels
        return found


async def exchange(address: str, data: bytes) -> Page:
    """Sends bytes and reads the answer to its end."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(data)
        await writer.drain()
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    finally:
        writer.close()
        await writer.wait_closed()
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return Page(int(first.split(" ")[1]), headers, body.decode())


async def fetch(address: str, path: str, method: str = "GET") -> Page:
    """Asks for a page."""
    return await exchange(address, f"{method} {path} HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
