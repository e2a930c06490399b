"""`python -m tests.bench`: see `--help`.

Exit codes: 0 done (with --gate: and every gate held), 2 the figures could not be had, 3 a gate was missed.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import uvloop

from tests import bench
from tests.bench.gates import SOAK_GROWTH_LIMIT_MIB, Gate, gates
from tests.bench.machine import describe
from tests.bench.passes import FULL, SMOKE, Plan, Results, measure
from tests.bench.perdure_subject import SQLITE, PerdureSubject
from tests.bench.report import as_json, table
from tests.bench.skeleton_subject import SkeletonSubject
from tests.bench.soak import SETTLED_AFTER_S, growth_mib, soak
from tests.bench.subject import BenchError, Subject

SUBJECTS: dict[str, Callable[[], Subject]] = {"skeleton": SkeletonSubject, "perdure": PerdureSubject}


def main(arguments: Sequence[str]) -> int:
    """Parse, measure, print; returns the exit code."""
    options = _options(arguments)
    subjects = SUBJECTS | {"perdure": partial(PerdureSubject, options.store)}
    chosen: list[str] = options.subject or list(SUBJECTS)
    problems: list[BenchError] = []
    code = 2
    try:
        if options.soak is not None:
            code = uvloop.run(_soak(subjects[chosen[-1]], chosen[-1], options))
        else:
            code = uvloop.run(_measure(subjects, chosen, _plan(options), options))
    except* BenchError as group:
        problems = _leaves(group)
    for problem in problems:
        sys.stderr.write(f"bench: {problem}\n")
    return code


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=bench.__doc__)
    parser.add_argument("--smoke", action="store_true", help="one short pass, for CI")
    parser.add_argument("--gate", action="store_true", help="exit with 3 when a gate is missed")
    parser.add_argument(
        "--subject", action="append", choices=sorted(SUBJECTS), help="measure only this one; repeatable"
    )
    parser.add_argument("--passes", type=int, help="interleaved passes (3)")
    parser.add_argument("--seconds", type=float, help="length of a sample (2.5)")
    parser.add_argument("--json", type=Path, metavar="PATH", help="also write all samples there")
    parser.add_argument(
        "--soak",
        type=float,
        metavar="MINUTES",
        help="watch the memory of one server instead (perdure, or the last --subject)",
    )
    parser.add_argument(
        "--directory",
        type=Path,
        default=Path(tempfile.gettempdir()),
        help="where the stores lie; must be a real disk",
    )
    parser.add_argument(
        "--store", default=SQLITE, help="URL of perdure's store; {directory} stands for a new folder (%(default)s)"
    )
    options = parser.parse_args(arguments)
    if options.soak is not None and options.soak * 60 <= SETTLED_AFTER_S:
        parser.error("--soak needs more than 2 minutes: growth counts from minute 2")
    if options.gate and options.soak is None and options.subject and set(options.subject) != set(SUBJECTS):
        parser.error("--gate needs both subjects: gates are ratios")
    return options


def _plan(options: argparse.Namespace) -> Plan:
    plan = SMOKE if options.smoke else FULL
    return Plan(options.passes or plan.passes, plan.warm_up_s, options.seconds or plan.seconds)


async def _measure(
    subjects: dict[str, Callable[[], Subject]], chosen: Sequence[str], plan: Plan, options: argparse.Namespace
) -> int:
    machine = describe(options.directory)
    for name, value in machine.items():
        _say(f"{name:<13} {value}")
    if machine["file system"] == "tmpfs":
        raise BenchError(f"{options.directory} is tmpfs, where a flush costs nothing: give --directory")
    results = await measure([subjects[name] for name in chosen], plan, options.directory, _say)
    found = gates(results) if set(chosen) == set(SUBJECTS) else []
    _print(results, chosen, plan, found)
    if options.json is not None:
        content = as_json(results, machine, asdict(plan), found)
        options.json.write_text(json.dumps(content, indent=1) + "\n")
    return 3 if options.gate and not all(gate.held for gate in found) else 0


def _print(results: Results, chosen: Sequence[str], plan: Plan, found: Sequence[Gate]) -> None:
    _say(f"\nbest of {plan.passes} interleaved passes of {plan.seconds:g} s; a step of W2 is one leg")
    _say(table(results, chosen))
    peaks = ", ".join(f"{name} {mib:.0f} MiB" for name, mib in results.peak_rss_mib.items())
    _say(f"\npeak RSS of the server: {peaks}")
    _say(f"sync calls: {results.sync_note or 'strace on the server, in a run of their own'}")
    for gate in found:
        _say(gate.sentence())


async def _soak(subject: Callable[[], Subject], name: str, options: argparse.Namespace) -> int:
    samples = await soak(subject, options.soak, options.directory, _say)
    growth = growth_mib(samples)
    _say(f"{name}: {growth:+.1f} MiB from minute 2 to the end, at most {SOAK_GROWTH_LIMIT_MIB:g}")
    return 3 if options.gate and growth > SOAK_GROWTH_LIMIT_MIB else 0


def _leaves(group: BaseExceptionGroup[BenchError]) -> list[BenchError]:
    found: list[BenchError] = []
    for error in group.exceptions:
        found.extend(_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    return found


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
