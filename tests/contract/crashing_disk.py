"""A disk that remembers what was asked of it, and shows what a crash could have left at any moment."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from perdure_server.storage.journal.disk import Disk

ACKNOWLEDGED: Final = "acknowledged"
IMAGES: Final = ("killed", "power cut", "entries only", "bytes only", "removals only", "torn")


class RecordingDisk(Disk):
    """Does everything, and writes down what it did.

    Attributes:
        calls: (what, arguments), in order; tests add (ACKNOWLEDGED,) when a commit has returned.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.calls: list[tuple[Any, ...]] = []
        self._names: dict[int, int] = {}
        self._opened = 0

    def open(self, name: str) -> int:
        descriptor = super().open(name)
        self._opened += 1
        self._names[descriptor] = self._opened
        self.calls.append(("open", self._opened, name))
        return descriptor

    def write(self, descriptor: int, data: bytes) -> None:
        self.calls.append(("write", self._names[descriptor], data))
        super().write(descriptor, data)

    def sync(self, descriptor: int) -> None:
        super().sync(descriptor)
        self.calls.append(("sync", self._names[descriptor]))

    def cut(self, descriptor: int, size: int) -> None:
        self.calls.append(("cut", self._names[descriptor], size))
        super().cut(descriptor, size)

    def rename(self, name: str, new_name: str) -> None:
        self.calls.append(("rename", name, new_name))
        super().rename(name, new_name)

    def remove(self, name: str) -> None:
        self.calls.append(("remove", name))
        super().remove(name)

    def sync_folder(self) -> None:
        super().sync_folder()
        self.calls.append(("sync_folder",))


class _File:
    def __init__(self) -> None:
        self.bytes = b""
        self.on_disk = b""


class Replay:
    """What a folder is after each of some calls: as its users see it, and as the disk has it."""

    def __init__(self) -> None:
        self.acknowledged = 0
        self._seen: dict[str, _File] = {}
        self._on_disk: dict[str, _File] = {}
        self._open: dict[int, _File] = {}
        self._last_write: tuple[_File, bytes] | None = None

    def step(self, call: tuple[Any, ...]) -> None:
        """Makes one call."""
        what, *arguments = call
        if what == ACKNOWLEDGED:
            self.acknowledged += 1
        else:
            self._last_write = None
            getattr(self, "_open_file" if what == "open" else f"_{what}")(*arguments)

    def _open_file(self, number: int, name: str) -> None:
        self._open[number] = self._seen.setdefault(name, _File())

    def _write(self, number: int, data: bytes) -> None:
        file = self._open[number]
        self._last_write = file, data
        file.bytes += data

    def _sync(self, number: int) -> None:
        file = self._open[number]
        file.on_disk = file.bytes

    def _cut(self, number: int, size: int) -> None:
        file = self._open[number]
        file.bytes = file.bytes[:size]

    def _rename(self, name: str, new_name: str) -> None:
        self._seen[new_name] = self._seen.pop(name)

    def _remove(self, name: str) -> None:
        del self._seen[name]

    def _sync_folder(self) -> None:
        self._on_disk = dict(self._seen)

    def images(self) -> Iterator[tuple[str, dict[str, bytes]]]:
        """What a crash now can leave: see IMAGES."""
        yield "killed", {name: file.bytes for name, file in self._seen.items()}
        yield "power cut", {name: file.on_disk for name, file in self._on_disk.items()}
        yield "entries only", {name: file.on_disk for name, file in self._seen.items()}
        yield "bytes only", {name: file.bytes for name, file in self._on_disk.items()}
        yield "removals only", {name: file.on_disk for name, file in self._on_disk.items() if name in self._seen}
        if self._last_write is not None:
            torn, data = self._last_write
            half = len(data) - len(data) // 2
            yield (
                "torn",
                {
                    name: file.bytes[: len(file.bytes) - half] if file is torn else file.bytes
                    for name, file in self._seen.items()
                },
            )
