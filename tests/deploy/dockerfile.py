"""A Dockerfile as its instructions."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.processes import ROOT

DOCKERFILE = ROOT / "deploy" / "Dockerfile"


@dataclass(frozen=True)
class Instruction:
    """One instruction; `text` is what follows the word, lines joined."""

    word: str
    text: str

    @property
    def exec_form(self) -> list[str]:
        """The JSON array of ENTRYPOINT or CMD. Raises: ValueError for the shell form."""
        return json.loads(self.text)


class Dockerfile:
    """Instructions by stage.

    Args:
        text: the file.
    """

    def __init__(self, text: str) -> None:
        lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
        joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
        self.stages: list[list[Instruction]] = []
        for line in joined.splitlines():
            word, _, rest = line.partition(" ")
            if word == "FROM":
                self.stages.append([])
            self.stages[-1].append(Instruction(word, rest.strip()))

    @classmethod
    def read(cls, path: Path = DOCKERFILE) -> Dockerfile:
        """The one of deploy/."""
        return cls(path.read_text(encoding="utf-8"))

    def all(self, word: str, stage: int = -1) -> list[Instruction]:
        """The instructions of a stage under one word."""
        return [each for each in self.stages[stage] if each.word == word]

    def only(self, word: str, stage: int = -1) -> Instruction:
        """The one instruction of a stage under a word. Raises: ValueError if there is another number of them."""
        (found,) = self.all(word, stage)
        return found

    def environment(self) -> dict[str, str]:
        """ENV of the last stage."""
        pairs = [pair for each in self.all("ENV") for pair in shlex.split(each.text)]
        return dict(pair.split("=", 1) for pair in pairs)

    def healthcheck(self) -> list[str]:
        """The command of HEALTHCHECK."""
        _, _, command = self.only("HEALTHCHECK").text.partition("CMD ")
        return json.loads(command)

    def copies(self, stage: int = 0) -> list[tuple[list[str], str]]:
        """Sources and destination of every COPY from outside."""
        found: list[tuple[list[str], str]] = []
        for each in self.all("COPY", stage):
            words = [word for word in shlex.split(each.text) if not word.startswith("--")]
            if "--from=" not in each.text:
                found.append((words[:-1], words[-1]))
        return found
