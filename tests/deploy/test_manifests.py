"""Compose files and Kubernetes manifests: valid, agreeing with each other and with the server."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.deploy.command_line import GRPC_PORT, METRICS_PORT, asks_who_calls, settings_of
from tests.deploy.dockerfile import Dockerfile
from tests.e2e.processes import ROOT

KUBERNETES = ROOT / "deploy" / "kubernetes"
COMPOSE = ROOT / "deploy" / "compose"
VERSION = "1.29"
"""The oldest Kubernetes that the manifests are for."""


def documents(path: Path) -> list[dict[str, Any]]:
    """The documents of a file; anchors are resolved, a key given twice is an error."""
    return list(yaml.load_all(path.read_text(encoding="utf-8"), Loader=UniqueLoader))


class UniqueLoader(yaml.SafeLoader):
    """Refuses a mapping that gives a key twice; YAML's own loader takes the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        if len(set(keys)) < len(keys):
            raise ValueError(f"a key is given twice: {sorted(keys)}, {node.start_mark}")
        return super().construct_mapping(node, deep)


def manifests() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(KUBERNETES.glob("*.yaml")):
        for each in documents(path):
            yield f"{path.name}:{each['kind']}", each


ALL = dict(manifests())
NATIVE = {name: each for name, each in ALL.items() if not each["apiVersion"].startswith("monitoring.")}
WORKLOADS = {name: each for name, each in ALL.items() if each["kind"] in {"Deployment", "StatefulSet"}}


def pod(workload: dict[str, Any]) -> dict[str, Any]:
    return workload["spec"]["template"]["spec"]


def container(workload: dict[str, Any]) -> dict[str, Any]:
    (only,) = pod(workload)["containers"]
    return only


def served(workload: dict[str, Any]) -> Any:
    """The settings of the server that a pod's container starts: the image's, and what the manifest adds."""
    image = Dockerfile.read()
    environment = image.environment()
    for each in container(workload).get("env", ()):
        environment[each["name"]] = each.get("value", "postgresql://from-a-secret/")
    return settings_of([*image.only("ENTRYPOINT").exec_form, *container(workload)["args"]], environment)


@pytest.mark.parametrize("name", NATIVE)
def test_manifests_are_valid(name: str) -> None:
    kubernetes_validate.validate(NATIVE[name], VERSION, strict=True)


def test_a_manifest_with_a_typo_is_refused() -> None:
    broken = {**NATIVE["network.yaml:Service"], "spec": {"clusterip": "None"}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, VERSION, strict=True)


@pytest.mark.parametrize("name", WORKLOADS)
def test_pods_start_a_server_that_asks_who_calls(name: str) -> None:
    settings = served(WORKLOADS[name])
    assert asks_who_calls(settings)
    assert settings["listen"] == f"0.0.0.0:{GRPC_PORT}"
    ports = {each["name"]: each["containerPort"] for each in container(WORKLOADS[name])["ports"]}
    assert ports == {"grpc": GRPC_PORT, "metrics": METRICS_PORT}


@pytest.mark.parametrize("name", WORKLOADS)
def test_pods_have_time_to_drain(name: str) -> None:
    pause = 5 if "lifecycle" in container(WORKLOADS[name]) else 0
    assert (
        pod(WORKLOADS[name])["terminationGracePeriodSeconds"] >= served(WORKLOADS[name])["drain_seconds"] + pause + 10
    )


@pytest.mark.parametrize("name", WORKLOADS)
def test_probes_ask_the_pages_that_there_are(name: str) -> None:
    probed = container(WORKLOADS[name])
    asked = {kind: probed[kind]["httpGet"] for kind in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {kind: (get["path"], get["port"]) for kind, get in asked.items()} == {
        "startupProbe": ("/healthz", "metrics"),
        "livenessProbe": ("/healthz", "metrics"),
        "readinessProbe": ("/readyz", "metrics"),
    }


@pytest.mark.parametrize("name", WORKLOADS)
def test_pods_may_do_nothing_but_serve(name: str) -> None:
    spec, own = pod(WORKLOADS[name]), container(WORKLOADS[name])
    assert spec["securityContext"]["runAsNonRoot"]
    assert f"{spec['securityContext']['runAsUser']}:{spec['securityContext']['runAsGroup']}" == (
        Dockerfile.read().only("USER").text
    )
    assert own["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not spec["automountServiceAccountToken"]
    volumes = {each["name"] for each in spec["volumes"]}
    volumes |= {each["metadata"]["name"] for each in WORKLOADS[name]["spec"].get("volumeClaimTemplates", ())}
    assert {each["name"] for each in own["volumeMounts"]} == volumes
    token_file = str(served(WORKLOADS[name])["token_file"])
    assert [each for each in own["volumeMounts"] if token_file.startswith(each["mountPath"] + "/")]


def test_a_file_has_one_server_and_a_database_many() -> None:
    file, database = ALL["sqlite.yaml:StatefulSet"], ALL["postgresql.yaml:Deployment"]
    assert file["spec"]["replicas"] == 1
    (claim,) = file["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["accessModes"] == ["ReadWriteOncePod"]
    folder = served(file)["store"].removeprefix("sqlite:///").rsplit("/", 1)[0]
    assert [each["mountPath"] for each in container(file)["volumeMounts"] if each["name"] == "data"] == [folder]
    assert database["spec"]["replicas"] > 1
    (store,) = [each for each in container(database)["env"] if each["name"] == "PERDURE_STORE"]
    assert set(store["valueFrom"]) == {"secretKeyRef"}, "the password is in the URL"


@pytest.mark.parametrize("name", [name for name in ALL if name not in WORKLOADS])
def test_selectors_find_the_pods(name: str) -> None:
    wanted = ALL[name]["spec"].get("selector") or ALL[name]["spec"]["podSelector"]
    labels = wanted.get("matchLabels", wanted)
    for workload in WORKLOADS.values():
        assert labels.items() <= workload["spec"]["template"]["metadata"]["labels"].items()


def test_the_service_shows_every_address() -> None:
    spec = ALL["network.yaml:Service"]["spec"]
    assert spec["clusterIP"] == "None"
    assert {each["name"]: (each["port"], each["targetPort"]) for each in spec["ports"]} == {
        "grpc": (GRPC_PORT, "grpc"),
        "metrics": (METRICS_PORT, "metrics"),
    }
    assert ALL["sqlite.yaml:StatefulSet"]["spec"]["serviceName"] == ALL["network.yaml:Service"]["metadata"]["name"]


def test_metrics_are_for_monitoring_only() -> None:
    policy = ALL["network.yaml:NetworkPolicy"]["spec"]
    allowed = {rule["ports"][0]["port"]: rule["from"] for rule in policy["ingress"]}
    assert set(allowed) == {"grpc", "metrics"}
    assert all(sources for sources in allowed.values()), "an empty list lets everybody in"
    (endpoint,) = ALL["service-monitor.yaml:ServiceMonitor"]["spec"]["endpoints"]
    assert (endpoint["port"], endpoint["path"]) == ("metrics", "/metrics")


# --- compose -----------------------------------------------------------------------------------

FILES = sorted(path.name for path in COMPOSE.glob("*.yaml"))


def service(file: str, name: str = "perdure") -> dict[str, Any]:
    return documents(COMPOSE / file)[0]["services"][name]


def seconds(span: str) -> float:
    assert span.endswith("s"), span
    return float(span.removesuffix("s"))


@pytest.mark.parametrize("file", FILES)
def test_compose_starts_a_server_that_asks_who_calls_and_may_drain(file: str) -> None:
    image, own = Dockerfile.read(), service(file)
    environment = image.environment() | own.get("environment", {})
    settings = settings_of([*image.only("ENTRYPOINT").exec_form, *own["command"]], environment)
    assert asks_who_calls(settings)
    assert seconds(own["stop_grace_period"]) >= settings["drain_seconds"] + 10
    assert own["build"]["dockerfile"] == "deploy/Dockerfile"
    assert (COMPOSE / own["build"]["context"] / own["build"]["dockerfile"]).is_file()
    assert [str(settings["token_file"])] == [f"/run/secrets/{secret}" for secret in own["secrets"]]
    assert own["read_only"]
    assert own["cap_drop"] == ["ALL"]
    assert f"http://127.0.0.1:{METRICS_PORT}/readyz" in " ".join(own["healthcheck"]["test"])


@pytest.mark.parametrize("file", FILES)
def test_compose_publishes_to_this_machine_only(file: str) -> None:
    assert service(file)["ports"] == [f"127.0.0.1:{GRPC_PORT}:{GRPC_PORT}"]


@pytest.mark.parametrize("file", FILES)
def test_compose_names_what_it_declares(file: str) -> None:
    (whole,) = documents(COMPOSE / file)
    assert set(whole) <= {"name", "services", "volumes", "secrets"}
    used = [volume.split(":")[0] for each in whole["services"].values() for volume in each.get("volumes", ())]
    assert set(used) == set(whole["volumes"])
    assert {secret for each in whole["services"].values() for secret in each.get("secrets", ())} == set(
        whole["secrets"]
    )
    for each in whole["services"].values():
        assert "healthcheck" in each
        assert not any(word.startswith("latest") for word in each["image"].split(":")[1:])


def test_the_database_is_up_before_the_server() -> None:
    assert service("compose.yaml")["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    database = service("compose.yaml", "postgres")
    url = service("compose.yaml")["environment"]["PERDURE_STORE"]
    assert url.startswith(f"postgresql://{database['environment']['POSTGRES_USER']}:$")
    assert url.endswith(f"@postgres:5432/{database['environment']['POSTGRES_DB']}")
    assert shlex.join(database["healthcheck"]["test"]).startswith("CMD pg_isready")
    assert "ports" not in database
