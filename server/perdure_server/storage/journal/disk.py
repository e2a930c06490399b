"""The system calls of a journal, one method each, so that tests can stop between any two of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from perdure_server.storage.process_lock import ProcessLock

LOCK_NAME: Final = "lock"


class Disk:
    """One folder of files.

    Args:
        folder: exists.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def names(self) -> list[str]:
        """Of all files, sorted."""
        return sorted(os.listdir(self.folder))

    def size(self, name: str) -> int:
        """Bytes of a file."""
        return os.stat(self.folder / name).st_size

    def open(self, name: str) -> int:
        """Opens a file for appending; makes it if it is not there."""
        return os.open(self.folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def write(self, descriptor: int, data: bytes) -> None:
        """Writes all of it; a write that the system breaks off goes on until it is refused."""
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]

    def sync(self, descriptor: int) -> None:
        """Returns when the file's bytes are on disk."""
        os.fdatasync(descriptor)

    def cut(self, descriptor: int, size: int) -> None:
        """Shortens a file."""
        os.ftruncate(descriptor, size)

    def close(self, descriptor: int) -> None:
        """Closes it."""
        os.close(descriptor)

    def rename(self, name: str, new_name: str) -> None:
        """Gives a file another name, at once or not at all."""
        os.rename(self.folder / name, self.folder / new_name)

    def remove(self, name: str) -> None:
        """Removes a file."""
        os.unlink(self.folder / name)

    def sync_folder(self) -> None:
        """Returns when the folder's entries are on disk."""
        sync_folder(self.folder)

    def make(self, name: str, data: bytes) -> int:
        """A new file with this content, both on disk on return, open for appending: a file that has its name is
        whole.
        """
        temporary = f"{name}.tmp"
        if temporary in self.names():
            self.remove(temporary)
        descriptor = self.open(temporary)
        try:
            self.write(descriptor, data)
            self.sync(descriptor)
            self.rename(temporary, name)
            self.sync_folder()
        except BaseException:
            self.close(descriptor)
            raise
        return descriptor


def sync_folder(folder: Path) -> None:
    """Returns when a folder's entries are on disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Makes a folder and those above it, all on disk on return."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for each in missing:
        sync_folder(each.parent)


def folder_lock(folder: Path) -> ProcessLock:
    """Keeps other processes, and a second store of this one, away from a journal: the lock is `lock` in its folder."""
    return ProcessLock(
        folder / LOCK_NAME,
        unusable=f"cannot write into {folder}",
        advice="give this user the right to, or name another folder",
        taken=(
            f"{folder} is in use by process {{owner}}: a journal serves one process at a time; "
            "stop that one or use another folder"
        ),
    )
