"""A disk that lost what was not synced: cuts the last transaction out of SQLite's write-ahead log.

SIGKILL leaves the page cache, so no death of a process shows that a commit was answered before it was on disk. This
makes one look as if it had been. The format is that of https://www.sqlite.org/fileformat2.html#walformat.
"""

from __future__ import annotations

import struct
from pathlib import Path

_HEADER = 32
_FRAME_HEADER = 24


def cut_last_commit(store: Path) -> None:
    """Removes the newest transaction from the log of a store that no process has open, if the log has one."""
    log = Path(f"{store}-wal")
    data = log.read_bytes() if log.exists() else b""
    ends = [_HEADER, *_transaction_ends(data)] if len(data) >= _HEADER else []
    if len(ends) > 1:
        with log.open("r+b") as file:
            file.truncate(ends[-2])


def _transaction_ends(data: bytes) -> list[int]:
    """Offsets behind each transaction of the log's present generation (frames that carry its salts)."""
    (page_size,) = struct.unpack_from(">I", data, 8)
    salts = data[16:24]
    ends: list[int] = []
    at = _HEADER
    while at + _FRAME_HEADER + page_size <= len(data) and data[at + 8 : at + 16] == salts:
        (pages_after,) = struct.unpack_from(">I", data, at + 4)
        at += _FRAME_HEADER + page_size
        if pages_after:
            ends.append(at)
    return ends
