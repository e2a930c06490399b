"""What every suite shares: the promise marker, property-test profiles and the seeds in the header.

pytest-randomly shuffles the tests and prints its seed; `--randomly-seed=N` repeats a run. Property tests
have no time limit of their own, because a slow machine is no reason to fail, and print the blob that
repeats a failure.
"""

import os
from collections.abc import Generator, Sequence

import pytest
from hypothesis import settings

from tests.postgres import missing as missing_postgres

PROMISES = tuple(f"P{number}" for number in range(1, 11))

settings.register_profile("local", deadline=None, print_blob=True)
settings.register_profile("ci", parent=settings.get_profile("local"), database=None)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "local")


def pytest_report_header() -> str:
    """Names the property-test profile beside the seed that pytest-randomly prints."""
    return f"hypothesis settings: {settings.get_current_profile_name()}"


def check_promises(test: str, names: Sequence[object]) -> None:
    """Raises `pytest.UsageError` unless the promise marker on `test` names promises, at least one."""
    if not names or any(name not in PROMISES for name in names):
        raise pytest.UsageError(f"{test}: promise{tuple(names)!r} is none of P1..P10")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuses a promise marker that names no promise; skips what needs PostgreSQL where there is none."""
    for item in items:
        if item.get_closest_marker("postgres") and (reason := missing_postgres()):
            item.add_marker(pytest.mark.skip(reason=reason))
        for mark in item.iter_markers("promise"):
            check_promises(item.nodeid, mark.args)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What was logged and printed goes to another process as UTF-8, half characters too."""
    report = yield
    report.sections = [(name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections]
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints what tests counted: `record_property("counted", text)`. What they write is lost in other processes."""
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for name, text in report.user_properties if report.when == "call" else ():
                if name == "counted":
                    terminalreporter.write_line(str(text))
