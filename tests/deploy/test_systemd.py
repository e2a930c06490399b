"""deploy/systemd/perdure.service: its command line is the server's, and systemd understands every line."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.command_line import settings_of
from tests.e2e.processes import ROOT

UNIT = ROOT / "deploy" / "systemd" / "perdure.service"


def values(text: str, name: str) -> list[str]:
    """What the unit says under a name, in order."""
    return re.findall(rf"^{name}=(.*)$", text, re.MULTILINE)


def environment(text: str) -> dict[str, str]:
    return dict(each.split("=", 1) for each in values(text, "Environment"))


def test_its_command_line_is_the_servers() -> None:
    text = UNIT.read_text(encoding="utf-8")
    (command,) = values(text, "ExecStart")
    settings = settings_of(shlex.split(command), environment(text))
    (folder,) = values(text, "StateDirectory")
    assert settings["store"] == f"sqlite:////var/lib/{folder}/perdure.db"
    assert settings["listen"].startswith("127.0.0.1:")
    assert settings["metrics_listen"].startswith("127.0.0.1:")
    assert float(values(text, "TimeoutStopSec")[0]) >= settings["drain_seconds"] + 10
    assert values(text, "KillSignal") == ["SIGTERM"]
    assert values(text, "Restart") == ["on-failure"]


def problems_found_by_systemd(text: str, folder: Path) -> str:
    """What systemd says of a unit whose program is this checkout's."""
    installed = str(Path(sys.executable).with_name("perdure"))
    unit = folder / UNIT.name
    unit.write_text(text.replace("/opt/perdure/bin/perdure", installed))
    command = ["systemd-analyze", "verify", "--man=no", str(unit)]
    return subprocess.run(command, check=False, capture_output=True, text=True).stderr


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_understands_every_line(tmp_path: Path) -> None:
    text = UNIT.read_text(encoding="utf-8")
    said = problems_found_by_systemd(text, tmp_path)
    assert [line for line in said.splitlines() if UNIT.name in line] == []
    broken = text.replace("ProtectSystem=strict", "ProtectSystems=strict")
    assert "ProtectSystems" in problems_found_by_systemd(broken, tmp_path)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_the_unit_is_hardened(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text(encoding="utf-8"))
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=25", "--no-pager", str(unit)]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-400:] + result.stderr
