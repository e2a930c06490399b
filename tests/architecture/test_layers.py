"""The layer contracts of pyproject.toml hold, and each of them refuses the import it is there for."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.architecture.source import ROOT

LINT_IMPORTS = Path(sys.executable).parent / "lint-imports"
MODULES = (
    "perdure_server.cli",
    "perdure_server.app",
    "perdure_server.clock",
    "perdure_server.ids",
    "perdure_server.loop",
    "perdure_server.telemetry",
    "perdure_server.measures",
    "perdure_server.metrics.monitor",
    "perdure_server.config",
    "perdure_server.api.codec",
    "perdure_server.dispatch.leases",
    "perdure_server.scheduler.timers",
    "perdure_server.ledger.tailer",
    "perdure_server.engine.start_run",
    "perdure_server.programs.worker",
    "perdure_server.timetable.moves",
    "perdure_server.storage.port",
    "perdure_server.storage.journal.store",
    "perdure_server.storage.memory.store",
    "perdure_server.storage.sql.store",
    "perdure_server.kernel.decide",
    "perdure.client",
    "perdure.testing",
    "perdure.v1.common_pb2",
)

# Each import is refused by the contract named with it.
FAULTS = [
    ("layers", "perdure_server.kernel.decide", "perdure_server.programs.worker"),
    ("layers", "perdure_server.kernel.decide", "perdure_server.storage.port"),
    ("layers", "perdure_server.programs.worker", "perdure_server.engine.start_run"),
    ("layers", "perdure_server.programs.worker", "perdure_server.storage.port"),
    ("layers", "perdure_server.timetable.moves", "perdure_server.storage.port"),
    ("layers", "perdure_server.timetable.moves", "perdure_server.engine.start_run"),
    ("layers", "perdure_server.storage.port", "perdure_server.engine.start_run"),
    ("layers", "perdure_server.engine.start_run", "perdure_server.dispatch.leases"),
    ("layers", "perdure_server.dispatch.leases", "perdure_server.scheduler.timers"),
    ("layers", "perdure_server.ledger.tailer", "perdure_server.dispatch.leases"),
    ("layers", "perdure_server.scheduler.timers", "perdure_server.api.codec"),
    ("layers", "perdure_server.api.codec", "perdure_server.app"),
    ("layers", "perdure_server.app", "perdure_server.cli"),
    ("layers", "perdure_server.metrics.monitor", "perdure_server.app"),
    ("layers", "perdure_server.api.codec", "perdure_server.metrics.monitor"),
    ("backends", "perdure_server.engine.start_run", "perdure_server.storage.sql.store"),
    ("backends", "perdure_server.api.codec", "perdure_server.storage.memory.store"),
    ("backends", "perdure_server.scheduler.timers", "sqlalchemy"),
    ("storage", "perdure_server.storage.sql.store", "perdure_server.engine.start_run"),
    ("independent-backends", "perdure_server.storage.sql.store", "perdure_server.storage.memory.store"),
    ("journal", "perdure_server.storage.journal.store", "perdure_server.storage.sql.store"),
    ("journal", "perdure_server.storage.journal.store", "sqlalchemy"),
    ("under-the-journal", "perdure_server.storage.memory.store", "perdure_server.storage.journal.store"),
    ("under-the-journal", "perdure_server.storage.sql.store", "perdure_server.storage.journal.store"),
    ("backends", "perdure_server.engine.start_run", "perdure_server.storage.journal.store"),
    ("wire", "perdure_server.engine.start_run", "perdure.v1.common_pb2"),
    ("wire", "perdure_server.dispatch.leases", "grpc"),
    ("wire", "perdure_server.ledger.tailer", "google.protobuf"),
    ("wire", "perdure_server.measures", "grpc"),
    ("wire", "perdure_server.telemetry", "perdure.v1.common_pb2"),
    ("leaves", "perdure_server.clock", "perdure_server.storage.port"),
    ("leaves", "perdure_server.loop", "perdure_server.engine.start_run"),
    ("sdk", "perdure.client", "perdure_server.app"),
]

# What the layers are meant to allow.
ALLOWED = [
    ("perdure_server.cli", "perdure_server.app"),
    ("perdure_server.app", "perdure_server.storage.sql.store"),
    ("perdure_server.app", "perdure_server.storage.memory.store"),
    ("perdure_server.app", "perdure_server.storage.journal.store"),
    ("perdure_server.storage.journal.store", "perdure_server.storage.memory.store"),
    ("perdure_server.app", "perdure_server.api.codec"),
    ("perdure_server.app", "perdure_server.metrics.monitor"),
    ("perdure_server.metrics.monitor", "perdure_server.api.codec"),
    ("perdure_server.engine.start_run", "perdure_server.measures"),
    ("perdure_server.api.codec", "perdure.v1.common_pb2"),
    ("perdure_server.api.codec", "grpc"),
    ("perdure_server.api.codec", "perdure_server.dispatch.leases"),
    ("perdure_server.dispatch.leases", "perdure_server.engine.start_run"),
    ("perdure_server.engine.start_run", "perdure_server.programs.worker"),
    ("perdure_server.engine.start_run", "perdure_server.timetable.moves"),
    ("perdure_server.engine.start_run", "perdure_server.storage.port"),
    ("perdure_server.storage.sql.store", "perdure_server.storage.port"),
    ("perdure_server.storage.port", "perdure_server.kernel.decide"),
    ("perdure_server.engine.start_run", "perdure_server.clock"),
    ("perdure_server.config", "perdure_server.kernel.decide"),
    ("perdure.testing", "perdure_server.app"),
]


def plant(root: Path, imports: list[tuple[str, str]]) -> None:
    """Writes `MODULES` below `root`, empty but for the given (importer, imported) pairs."""
    for module in MODULES:
        path = root.joinpath(*module.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        for package in path.relative_to(root).parents[:-1]:
            (root / package / "__init__.py").touch()
        path.write_text("".join(f"import {target}\n" for importer, target in imports if importer == module))


def lint(root: Path, *contracts: str) -> subprocess.CompletedProcess[str]:
    """Runs the contracts of pyproject.toml (all, or those named) over the packages below `root`."""
    command = [str(LINT_IMPORTS), "--config", str(ROOT / "pyproject.toml"), "--no-cache"]
    for contract in contracts:
        command += ["--contract", contract]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    return subprocess.run(command, cwd=root, env=environment, check=False, capture_output=True, text=True)


def test_the_tree_keeps_the_layers() -> None:
    result = lint(ROOT / "server")
    assert result.returncode == 0, result.stdout + result.stderr


def test_what_the_layers_allow(tmp_path: Path) -> None:
    plant(tmp_path, ALLOWED)
    result = lint(tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(("contract", "importer", "imported"), FAULTS)
def test_a_forbidden_import_is_found(contract: str, importer: str, imported: str, tmp_path: Path) -> None:
    plant(tmp_path, [(importer, imported)])
    result = lint(tmp_path, contract)
    assert result.returncode == 1, result.stdout + result.stderr
    external = imported.partition(".")[0] not in {"perdure", "perdure_server"}
    target = imported.partition(".")[0] if external else imported
    assert f"{importer} -> {target}" in result.stdout.replace("\n", " ")


def test_every_contract_has_a_planted_fault() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert {contract["id"] for contract in contracts} == {contract for contract, _, _ in FAULTS}
