"""The chain of a journal's lines: every line ends with a checksum over itself and the one before.

A line is `{"line":N,...,"sum":"<16 hex digits>"}`: the sum is BLAKE2b, 8 bytes, of the sum of the line before
and the line up to `,"sum":`. A line that was edited, dropped, doubled or moved is found by it, and so is a file that
takes another's place. It is no signature: whoever computes it anew deceives it, which is what the ledger's own hash
chains are for.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

SUM_DIGITS: Final = 16
_OPENING: Final = b',"sum":"'
_CLOSING: Final = b'"}\n'
TAIL_BYTES: Final = len(_OPENING) + SUM_DIGITS + len(_CLOSING)

START: Final = b"0" * SUM_DIGITS
"""The sum before the first line of a journal."""


def seal(before: bytes, text: bytes) -> tuple[bytes, bytes]:
    """A line and its sum.

    Args:
        before: sum of the line before.
        text: the line's JSON object without its closing brace.
    """
    digest = blake2b(before + text, digest_size=SUM_DIGITS // 2).hexdigest().encode()
    return b"".join((text, _OPENING, digest, _CLOSING)), digest


def sum_of(line: bytes) -> bytes:
    """The sum that a line claims; whether rightly is not looked at."""
    return line[-SUM_DIGITS - len(_CLOSING) : -len(_CLOSING)]


def is_intact(before: bytes, line: bytes) -> bool:
    """Whether a line (with its line end) is what was written after the line of that sum."""
    if len(line) <= TAIL_BYTES:
        return False
    digest = blake2b(before, digest_size=SUM_DIGITS // 2)
    digest.update(memoryview(line)[:-TAIL_BYTES])
    return line.endswith(b"".join((_OPENING, digest.hexdigest().encode(), _CLOSING)))


def link(number: int, batch: int, place: int, of: int) -> bytes:
    """How a line begins: its number in the file, and its place in the batch that was written with it.

    What a batch's flush has confirmed can be told from what it has not: no batch begins before the one before it is
    on disk.
    """
    return b'{"line":%d,"batch":%d,"of":[%d,%d],' % (number, batch, place, of)
