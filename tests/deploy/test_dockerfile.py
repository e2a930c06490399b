"""deploy/Dockerfile: rules of a good image, and that its command line is the server's."""

from __future__ import annotations

import re

import pytest

from perdure_server.config import Config
from tests.deploy.command_line import GRPC_PORT, METRICS_PORT, settings_of
from tests.deploy.dockerfile import DOCKERFILE, Dockerfile
from tests.e2e.processes import ROOT


def faults(file: Dockerfile) -> list[str]:
    """What is wrong with an image."""
    found: list[str] = []
    bases = [stage[0].text for stage in file.stages]
    found += [f"{base}: a tag, and not latest" for base in bases if not re.match(r"^[a-z]+:[^ ]*\d", base)]
    found += [f"{base}: a plain name" for base in bases if "/" in base.split(" ")[0]]
    users = [each.text for each in file.all("USER")]
    if not users or re.match(r"^(root|0)(:|$)", users[-1]):
        found.append("runs as root")
    if not file.all("ENTRYPOINT") or not file.only("ENTRYPOINT").text.startswith("["):
        found.append("the shell form of ENTRYPOINT keeps signals from the server")
    if [each.text for each in file.all("STOPSIGNAL")] != ["SIGTERM"]:
        found.append("SIGTERM is what drains")
    if not file.all("HEALTHCHECK"):
        found.append("no HEALTHCHECK")
    if any(each.word == "ADD" for stage in file.stages for each in stage):
        found.append("ADD where COPY does")
    for each in (each for stage in file.stages for each in stage if each.word == "RUN"):
        if re.search(r"\bpip (install|wheel)(?! --no-cache-dir)", each.text):
            found.append("pip leaves its cache in the image")
        if re.search(r"\bsudo\b|curl .*\| *(ba)?sh", each.text):
            found.append("RUN does what it should not")
    if "PYTHONUNBUFFERED" not in file.environment():
        found.append("the log is held back")
    return found


def test_the_image_keeps_the_rules() -> None:
    assert faults(Dockerfile.read()) == []


@pytest.mark.parametrize(
    ("line", "instead", "fault"),
    [
        ("USER 10001:10001", "USER root", "runs as root"),
        ("USER 10001:10001", "", "runs as root"),
        ('ENTRYPOINT ["perdure", "serve", "--metrics-open"]', "ENTRYPOINT perdure serve", "shell form"),
        ("STOPSIGNAL SIGTERM", "STOPSIGNAL SIGKILL", "drains"),
        ("FROM python:3.11-slim AS build", "FROM python:latest AS build", "latest"),
        ("FROM python:3.11-slim AS build", "FROM registry.test/python:3.11 AS build", "plain name"),
        ("COPY server server", "ADD server server", "ADD"),
        ("pip install --no-cache-dir", "pip install", "cache"),
    ],
)
def test_a_planted_fault_is_found(line: str, instead: str, fault: str) -> None:
    text = DOCKERFILE.read_text(encoding="utf-8")
    assert line in text
    found = faults(Dockerfile(text.replace(line, instead)))
    assert [each for each in found if fault in each], found


def test_its_command_line_is_the_servers() -> None:
    file = Dockerfile.read()
    settings = settings_of(file.only("ENTRYPOINT").exec_form, file.environment())
    assert settings["store"] == "sqlite:////var/lib/perdure/perdure.db"
    assert settings["listen"] == f"0.0.0.0:{GRPC_PORT}"
    assert settings["metrics_listen"] == f"0.0.0.0:{METRICS_PORT}"
    assert settings["metrics_open"]
    assert not settings["insecure"], "who starts the image says how callers are known"
    assert file.only("EXPOSE").text == f"{GRPC_PORT} {METRICS_PORT}"
    assert f":{METRICS_PORT}/healthz" in " ".join(file.healthcheck())


def test_the_folder_of_the_store_is_a_volume_of_the_user() -> None:
    file = Dockerfile.read()
    folder = file.only("VOLUME").text
    assert file.environment()["PERDURE_STORE"].startswith(f"sqlite:///{folder}/")
    made = [each.text for each in file.all("RUN") if f"--mode=0700 {folder}" in each.text]
    assert len(made) == 1


def test_what_is_copied_is_there_and_not_ignored() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    sources = {source for copied, _ in Dockerfile.read().copies() for source in copied}
    assert sources == allowed
    assert all((ROOT / source).exists() for source in sources)


def test_the_default_ports_of_the_files_are_the_servers() -> None:
    assert Config().address()[1] == GRPC_PORT
