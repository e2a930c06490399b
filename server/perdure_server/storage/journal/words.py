"""Numbers of the rows that a reader of the journal sees as words. A number without a word stays a number.

The words are part of the file format: they may be added to, never changed.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, TypeAlias

from perdure_server.kernel.inputs import TimerKind
from perdure_server.kernel.model import Activity, Drive, EventScope, RunStatus, WaitReason
from perdure_server.kernel.records import RecordKind, StepStatus
from perdure_server.storage.port import SlotKind

Word: TypeAlias = str | int


class _Words(dict[int, Word]):
    def __missing__(self, number: int) -> Word:
        return number


class _Numbers(dict[Word, int]):
    def __missing__(self, word: Word) -> int:
        if isinstance(word, int):
            return word
        raise KeyError(word)


class Words:
    """The words of one enum, both ways.

    Attributes:
        word: number -> how the journal writes it.
        number: what the journal writes -> number; KeyError for a word that this version does not know.
    """

    def __init__(self, members: type[IntEnum]) -> None:
        self.word = _Words({int(member): member.name.lower() for member in members})
        self.number = _Numbers({member.name.lower(): int(member) for member in members})


RECORD_KIND: Final = Words(RecordKind)
STEP_STATUS: Final = Words(StepStatus)
RUN_STATUS: Final = Words(RunStatus)
ACTIVITY: Final = Words(Activity)
DRIVE: Final = Words(Drive)
REASON: Final = Words(WaitReason)
SCOPE: Final = Words(EventScope)
SLOT: Final = Words(SlotKind)
TIMER: Final = Words(TimerKind)
