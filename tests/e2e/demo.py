"""`make demo`: two orders survive `kill -9` of the server, wait for people, are charged once, and end.

    python -m tests.e2e.demo

Everything is real: `perdure serve` on SQLite, a Python worker, the `perdure` command, a Node program with nothing
but generated code. Everything that the server acknowledged, in replies and in the live ledger, is written down as
it comes and compared with the ledger afterwards. Exit code 1 if anything is lost.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.rule import Rule

from perdure import Client, LedgerEntry, LedgerScope, PerdureError, RunFilter, RunState, Subscription
from tests.conformance.node_programs import NodeProgramError, node_is_here, run_program
from tests.e2e.evidence import Evidence, statement_problems
from tests.e2e.outside import Call, Outside
from tests.e2e.processes import Program, ProgramError, Server, run_perdure, running

ALPHA, BETA = "order-alpha", "order-beta"
_REMIND_AFTER_S = 4.0


class Stage:
    """Tells the story on the terminal, and keeps what went wrong."""

    def __init__(self) -> None:
        self.console = Console(highlight=False)
        self.failures: list[str] = []
        self._act = 0

    def act(self, title: str) -> None:
        """A new part of the story."""
        self._act += 1
        self.console.print()
        self.console.print(Rule(f"[bold]{self._act}. {title}[/]", align="left", style="cyan"))

    def say(self, text: str) -> None:
        """A sentence."""
        self.console.print(f"  {text}")

    def check(self, what: str, problems: list[str]) -> None:
        """A promise, kept if there are no problems."""
        if not problems:
            self.console.print(f"  [green]✓[/] {what}")
            return
        self.failures.extend(problems)
        self.console.print(f"  [red]✗ {what}[/]")
        for problem in problems:
            self.console.print(f"      [red]{problem}[/]", markup=True)

    def output(self, program: Program) -> None:
        """What a command printed."""
        for line in program.lines:
            self.console.print(f"    [dim]│[/] {line}", markup=True, overflow="ellipsis", no_wrap=True)


@dataclass
class Bank:
    """The world outside: closed when it is first asked, and slow to answer when it is charged."""

    outside: Outside
    charges: asyncio.Queue[Call] = field(default_factory=asyncio.Queue[Call])
    _asked: set[str] = field(default_factory=set[str])

    async def open_hours(self) -> None:
        """Says "closed" to the first question about an order, "open" to the next; keeps charges for `charges`."""
        while True:
            call = await self.outside.call(timeout=3600)
            if call.asked["ask"] == "charge":
                self.charges.put_nowait(call)
            else:
                order = str(call.asked["order"])
                await call.answer({"open": order in self._asked})
                self._asked.add(order)


async def follow(subscription: Subscription, evidence: Evidence, news: asyncio.Condition) -> None:
    """Writes down every record as it is streamed, across the crash."""
    async for entry in subscription:
        async with news:
            evidence.streamed(entry)
            news.notify_all()
