"""A disk that can be made too small."""

from __future__ import annotations

import ctypes
import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import pytest

MIB = 1024 * 1024
ROOMY = 512 * MIB
MS_REMOUNT = 32
MNT_DETACH = 2

_LIBC = ctypes.CDLL(None, use_errno=True)


class SmallDisk:
    """A file system of its own, in memory.

    Args:
        folder: where it is mounted. Other users may write there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    @contextmanager
    def mounted(cls) -> Generator[Self]:
        """With much room, for the length of a block; the test is skipped where nothing can be mounted."""
        parent = Path(tempfile.mkdtemp(prefix="perdure-disk-"))
        parent.chmod(0o755)
        disk = cls(parent)
        try:
            if not disk._mount(ROOMY):
                pytest.skip(f"a small disk cannot be mounted here: {os.strerror(ctypes.get_errno())}")
            yield disk
            _LIBC.umount2(bytes(parent), MNT_DETACH)
        finally:
            shutil.rmtree(parent, ignore_errors=True)

    def leave(self, room: int) -> None:
        """Takes away all room but so many bytes."""
        told = os.statvfs(self.folder)
        self._resize((told.f_blocks - told.f_bfree) * told.f_frsize + room)

    def make_room(self) -> None:
        """Gives it back."""
        self._resize(ROOMY)

    def _resize(self, size: int) -> None:
        if not self._mount(size, MS_REMOUNT):
            raise OSError(ctypes.get_errno(), f"the disk cannot have {size} bytes")

    def _mount(self, size: int, flags: int = 0) -> bool:
        return _LIBC.mount(b"tmpfs", bytes(self.folder), b"tmpfs", flags, f"size={size}".encode()) == 0
