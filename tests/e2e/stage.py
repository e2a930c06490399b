"""How the demo tells its story on the terminal."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from time import monotonic

from rich.console import Console
from rich.padding import Padding
from rich.panel import Panel
from rich.rule import Rule
from rich.text import Text

_PIPED_COLUMNS = 120
_INDENT = 4


class Stage:
    """Acts, sentences, commands with their output, checks; keeps what went wrong in `failures`."""

    def __init__(self) -> None:
        self.console = Console(highlight=False, width=None if sys.stdout.isatty() else _PIPED_COLUMNS)
        self.failures: list[str] = []
        self._act = 0
        self._checks = 0
        self._began = monotonic()

    def title(self, text: str) -> None:
        """What this is."""
        self.console.print(Panel(Text(text, style="bold"), expand=False, border_style="cyan"))

    def act(self, title: str) -> None:
        """A new part of the story."""
        self._act += 1
        self.console.print()
        self.console.print(Rule(Text(f"{self._act}. {title}", style="bold"), align="left", style="cyan"))

    def say(self, text: str) -> None:
        """A sentence; may hold rich markup."""
        self.console.print(Padding(text, (0, 0, 0, 2)))

    def warn(self, text: str) -> None:
        """Something that is not as it should be in a demo, though nothing is wrong."""
        self.console.print(Padding(Text(f"note: {text}", style="yellow"), (0, 0, 0, 2)))

    def command(self, *words: str) -> None:
        """A command that is run next."""
        self.console.print(Padding(Text(f"$ {shlex.join(words)}", style="bold cyan"), (0, 0, 0, 2)))

    def output(self, lines: Sequence[str]) -> None:
        """What a command printed, its colours kept."""
        for line in lines:
            self.console.print(Text.assemble(("  │ ", "dim"), Text.from_ansi(line)), overflow="fold")

    def terminal(self) -> dict[str, str]:
        """The environment that makes a `perdure` process draw for this place."""
        columns = str(self.console.width - _INDENT)
        colour = {} if self.console.is_terminal else {"NO_COLOR": "1"}
        return {"PERDURE_FORCE_TTY": "1", "COLUMNS": columns, **colour}

    def check(self, what: str, problems: Sequence[str]) -> None:
        """A promise, kept if there are no problems."""
        self._checks += 1
        mark, style = ("✓", "green") if not problems else ("✗", "red")
        self.console.print(Padding(Text.assemble((f"{mark} ", style), what), (0, 0, 0, 2)))
        for problem in problems:
            self.console.print(Padding(Text(problem, style="red"), (0, 0, 0, 6)))
        self.failures.extend(problems)

    def close(self) -> int:
        """The summary; returns the exit code."""
        took = f"{monotonic() - self._began:.0f} s"
        self.console.print()
        if self.failures:
            text = Text(f"{len(self.failures)} things are not as promised, see above. {took}", style="bold red")
        else:
            text = Text(
                f"All {self._checks} checks passed in {took}: nothing lost, nothing done twice.", style="bold green"
            )
        self.console.print(Panel(text, expand=False, border_style="red" if self.failures else "green"))
        return 1 if self.failures else 0
