"""serve/deploy: checks that need neither a container engine nor a cluster."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from serve.main import app
from serve.settings import PREFIX, Settings
from tests.support.imports import ROOT

DEPLOY = ROOT / "serve" / "deploy"
DOCKERFILE = DEPLOY / "Dockerfile"
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
KUBERNETES = "1.34"
# Peak memory of one process with data/release and four JPEGs of 48 megapixels at a time. After 50
# images of 2 megapixels it was 394.
MEASURED_PEAK_MB = 2102
PROBED = {"startup": "/ready", "readiness": "/ready", "liveness": "/health"}
UNITS = {"g": 10**9, "Gi": 2**30, "m": 10**6, "Mi": 2**20}


def instructions() -> list[tuple[str, str]]:
    """(name, arguments) of each instruction, continued lines joined."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in lines if line.strip()]


def arguments_of(name: str) -> list[str]:
    return [arguments for found, arguments in instructions() if found == name]


def command() -> list[str]:
    return list(json.loads(arguments_of("CMD")[-1]))


def option(name: str) -> str:
    return command()[command().index(name) + 1]


def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["detector"])


def manifest(kind: str) -> dict[str, Any]:
    documents = [yaml.safe_load(path.read_text()) for path in MANIFESTS]
    (found,) = [document for document in documents if document["kind"] == kind]
    return dict(found)


def pod() -> dict[str, Any]:
    return dict(manifest("Deployment")["spec"]["template"]["spec"])


def container() -> dict[str, Any]:
    (only,) = pod()["containers"]
    return dict(only)


def environment() -> dict[str, Any]:
    return {entry["name"]: entry.get("value") for entry in container()["env"]}


def routes() -> set[str]:
    return set(app.openapi()["paths"])


def size_bytes(text: str) -> int:
    number, unit = re.fullmatch(r"(\d+)(\w+)", text).groups()  # type: ignore[union-attr]
    return int(number) * UNITS[unit]


def hadolint(dockerfile: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("hadolint")
    return subprocess.run([program, dockerfile], capture_output=True, text=True, check=False)


def test_hadolint(tmp_path: Path) -> None:
    done = hadolint(DOCKERFILE)
    assert (done.returncode, done.stdout) == (0, "")
    (tmp_path / "Dockerfile").write_text("FROM debian\nRUN cd /tmp\n")
    assert hadolint(tmp_path / "Dockerfile").returncode != 0


def test_what_is_copied_exists_and_reaches_the_builder() -> None:
    allowed = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    copied = [a.split()[:-1] for a in arguments_of("COPY") if not a.startswith("--from")]
    sources = [source for names in copied for source in names]
    assert {"data/release", "pipeline", "serve"} <= set(sources)
    for source in sources:
        assert (ROOT / source).exists(), source
        assert f"!{source}" in allowed
    assert allowed[1] == "*"


def test_the_image_holds_what_is_pinned_and_nothing_of_development() -> None:
    text = DOCKERFILE.read_text()
    installs = re.findall(r"pip install[^&\n]*", text)
    assert len(installs) == 2
    assert all("-c constraints.txt" in install for install in installs)
    assert not re.search(r"'(train|test|dev)'", text)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"]["serve"]]
    pins = (ROOT / "constraints.txt").read_text().lower().replace("_", "-")
    names = [re.split(r"[<>=\[]", requirement)[0] for requirement in needed]
    assert [name for name in names if f"\n{name}==" not in pins] == []


def test_the_image_runs_without_rights() -> None:
    user = arguments_of("USER")[-1].partition(":")[0]
    assert int(user) >= 1000
    assert f"--uid {user}" in DOCKERFILE.read_text()
    assert pod()["securityContext"]["runAsUser"] == int(user)


def test_the_image_starts_the_service_as_make_serve_does() -> None:
    """The arguments are equal except for the address, which comes first."""
    recipe = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    (line,) = re.findall(r"\$\(BIN\)/(uvicorn serve.*)", recipe)
    address, first, options = line.partition("--no-access-log")
    assert {"--host", "--port"} <= set(address.split())
    assert command()[command().index(first) + 1 :] == options.split()


def test_the_health_check_asks_a_route_of_the_service() -> None:
    (check,) = arguments_of("HEALTHCHECK")
    (port, path) = re.findall(r"127\.0\.0\.1:(\d+)(/\w+)", check)[0]
    assert path in routes()
    assert {port} == {option("--port"), arguments_of("EXPOSE")[0]}


def test_compose() -> None:
    service = compose()
    build = service["build"]
    assert (DEPLOY / build["context"]).resolve() == ROOT
    assert ROOT / build["dockerfile"] == DOCKERFILE
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    (published,) = service["ports"]
    assert published.split(":")[-1] == option("--port")
    (tmpfs,) = service["tmpfs"]
    path, _, size = tmpfs.partition(":size=")
    assert path == "/tmp"
    held = size_bytes(size.partition(",")[0]) + MEASURED_PEAK_MB * 2**20
    assert size_bytes(service["mem_limit"]) > held
    stops_within = service["environment"]["INSWAPPER_DRAIN_S"] + int(
        option("--timeout-graceful-shutdown")
    )
    assert int(service["stop_grace_period"].removesuffix("s")) > stops_within


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_manifests_follow_the_schema_of_kubernetes(path: Path) -> None:
    document = yaml.safe_load(path.read_text())
    kubernetes_validate.validate(document, KUBERNETES, strict=True)
    document["spec"]["noSuchField"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(document, KUBERNETES, strict=True)


def test_probes_ask_routes_of_the_service() -> None:
    probes = {name: container()[f"{name}Probe"]["httpGet"] for name in PROBED}
    assert {name: probe["path"] for name, probe in probes.items()} == PROBED
    assert set(PROBED.values()) <= routes()
    (port,) = container()["ports"]
    assert {probe["port"] for probe in probes.values()} == {port["name"]}
    assert port["containerPort"] == int(option("--port"))
    (served,) = manifest("Service")["spec"]["ports"]
    (let_in,) = manifest("NetworkPolicy")["spec"]["ingress"][0]["ports"]
    assert {served["targetPort"], let_in["port"]} == {port["name"]}


def test_the_grace_period_covers_every_step_of_the_end() -> None:
    name, seconds = container()["lifecycle"]["preStop"]["exec"]["command"]
    assert name == "sleep"
    steps = (
        int(seconds),
        float(environment()["INSWAPPER_DRAIN_S"]),
        int(option("--timeout-graceful-shutdown")),
    )
    assert pod()["terminationGracePeriodSeconds"] > sum(steps)


def test_environment_names_settings() -> None:
    names = {*environment(), *compose()["environment"]}
    assert {name.removeprefix(PREFIX).lower() for name in names} <= set(Settings.model_fields)
    assert environment()["INSWAPPER_ADMIN_TOKEN"] is None  # from the secret, never in the manifest


def test_the_container_may_do_nothing_and_write_nowhere_but_tmp() -> None:
    assert container()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod()["securityContext"]["runAsNonRoot"] is True
    assert pod()["automountServiceAccountToken"] is False
    (mount,) = container()["volumeMounts"]
    (volume,) = pod()["volumes"]
    assert (mount["mountPath"], mount["name"]) == ("/tmp", volume["name"])
    assert "emptyDir" in volume


def test_limits_are_above_what_was_measured() -> None:
    resources = container()["resources"]
    assert size_bytes(resources["limits"]["memory"]) > 1.5 * MEASURED_PEAK_MB * 2**20
    assert int(resources["limits"]["cpu"]) >= int(resources["requests"]["cpu"])


def test_everything_points_at_the_deployment() -> None:
    deployment = manifest("Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    selectors = [
        deployment["spec"]["selector"]["matchLabels"],
        manifest("Service")["spec"]["selector"],
        manifest("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        manifest("NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
    ]
    assert all(selector == labels for selector in selectors)
    scaled = manifest("HorizontalPodAutoscaler")["spec"]
    assert scaled["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    assert "replicas" not in deployment["spec"]
    # With one replica, a budget of one unavailable pod would not protect anything.
    assert scaled["minReplicas"] > manifest("PodDisruptionBudget")["spec"]["maxUnavailable"]
