"""Where results go: tables and colour on a terminal, tab-separated lines into a pipe, JSON under --json."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from perdure_server.cli.json_form import json_line
from perdure_server.cli.refusals import Refusal

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

T = TypeVar("T")

# Colours by the words that status columns hold.
_COLOURS = {
    "running": "cyan",
    "waiting": "yellow",
    "completed": "green",
    "failed": "red",
    "cancelled": "magenta",
    "parked": "red",
    "paused": "yellow",
    "ok": "green",
    "warning": "yellow",
    "problem": "red",
}


def colour_of(word: str) -> str:
    """The style of a status word; "" for none."""
    return _COLOURS.get(word.partition(" ")[0].partition(",")[0], "")


@dataclass(frozen=True, slots=True)
class Column(Generic[T]):
    """One column of a table.

    Args:
        title: its head on a terminal.
        cell: its text for an item.
        is_status: coloured by its word.
        may_fold: on a narrow terminal, its text may take several lines; others are kept whole.
    """

    title: str
    cell: Callable[[T], str]
    is_status: bool = False
    may_fold: bool = False


class Output:
    """Standard output and standard error of one command.

    Args:
        as_json: JSON lines instead of text.
        colour: None: on a terminal only (and not under NO_COLOR); True and False: always and never.
    """

    def __init__(self, *, as_json: bool, colour: bool | None = None) -> None:
        self.as_json = as_json
        # A program that shows our output on its own terminal asks for what a terminal gets.
        self._is_forced = bool(os.environ.get("PERDURE_FORCE_TTY"))
        self.is_terminal = (self._is_forced or sys.stdout.isatty()) and not as_json
        self._colour = colour
        self._consoles: dict[bool, Console] = {}

    def console(self, *, errors: bool = False) -> Console:
        """The terminal behind standard output, or behind standard error."""
        from rich.console import Console

        if errors not in self._consoles:
            is_plain = self._colour is False or (self._colour is None and bool(os.environ.get("NO_COLOR")))
            self._consoles[errors] = Console(
                stderr=errors,
                force_terminal=True if self._is_forced or self._colour else None,
                color_system=None if is_plain else "auto",
                no_color=False,
                highlight=False,
            )
        return self._consoles[errors]

    def line(self, text: str) -> None:
        """A line of plain text, as it is."""
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def json(self, value: object) -> None:
        """One line of JSON."""
        self.line(json_line(value))

    def show(self, renderable: RenderableType, *, style: str = "", is_line: bool = False) -> None:
        """Something drawn with rich; on a terminal only. A line is cut at the terminal's edge."""
        overflow = "ellipsis" if is_line else None
        self.console().print(renderable, style=style or None, no_wrap=is_line or None, overflow=overflow)

    def done(self, value: object, sentence: str) -> None:
        """The result of a changing call: the object, or a sentence about it."""
        if self.as_json:
            self.json(value)
        else:
            self.line(sentence)

    def note(self, text: str) -> None:
        """Something to know that is not the result; goes to standard error, and nowhere under --json."""
        if self.as_json:
            return
        if self.is_terminal or sys.stderr.isatty():
            self.console(errors=True).print(text, style="dim", markup=False)
        else:
            sys.stderr.write(text + "\n")

    async def rows(self, items: AsyncIterable[T] | Iterable[T], columns: Sequence[Column[T]], *, none: str) -> int:
        """A list: a table, tab-separated lines without a head, or a JSON object per line. Returns its length.

        Args:
            items: what is listed.
            columns: the cells of each.
            none: what to say, on a terminal, when there is nothing.
        """
        kept: list[T] = []
        count = 0
        async for item in _each(items):
            count += 1
            if self.as_json:
                self.json(item)
            elif self.is_terminal:
                kept.append(item)
            else:
                self.line("\t".join(_plain(column.cell(item)) for column in columns))
        if self.is_terminal:
            if kept:
                from perdure_server.cli.tables import draw

                self.show(draw(kept, columns))
            else:
                self.note(none)
        return count

    def facts(self, pairs: Iterable[tuple[str, str]], value: object) -> None:
        """One object: its facts one below the other, or its JSON. Pairs without a text are left out."""
        if self.as_json:
            self.json(value)
            return
        known = [(name, text) for name, text in pairs if text]
        if not self.is_terminal:
            for name, text in known:
                self.line(f"{name}\t{_plain(text)}")
            return
        from perdure_server.cli.tables import draw_facts

        self.show(draw_facts(known))

    def refuse(self, why: Refusal) -> None:
        """Says on standard error why the command did not do its work."""
        if self.as_json:
            sys.stderr.write(json_line(why.as_json()) + "\n")
            return
        lines = [why.message]
        # What the message says already is not said again; --json has all of it.
        lines += [f"  {name}: {text}" for name, text in why.fields if text not in why.message]
        lines += [f"  {name} = {text}" for name, text in sorted(why.metadata.items()) if text not in why.message]
        if not (self._is_forced or sys.stderr.isatty()):
            head = f"error: {why.reason}: " if why.reason else "error: "
            advice = [f"what to do: {why.advice}"] if why.advice else []
            sys.stderr.write("\n".join([head + lines[0], *lines[1:], *advice]) + "\n")
            return
        from rich.text import Text

        console = self.console(errors=True)
        head = Text.assemble(("error ", "bold red"), (f"{why.reason} " if why.reason else "", "red"), lines[0])
        console.print(head)
        for line in lines[1:]:
            console.print(Text(line))
        if why.advice:
            console.print(Text.assemble(("what to do  ", "bold"), why.advice))


def _plain(text: str) -> str:
    """The text on one line without tabs, so that a line is a row and a tab a border."""
    return text.replace("\t", " ").replace("\r", " ").replace("\n", " ")


async def _each(items: AsyncIterable[T] | Iterable[T]) -> AsyncIterator[T]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item
