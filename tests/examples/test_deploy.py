"""The files for containers, clusters and systemd: what reads them takes them, and they agree."""

from __future__ import annotations

import dataclasses
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from runtime.bundle import Bundle
from tests.examples.dockerfile import Built, stages
from tests.places import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

yaml = pytest.importorskip("yaml")

DEPLOY = ROOT / "examples" / "deploy"
DOCKERFILES = [DEPLOY / "Dockerfile", DEPLOY / "Dockerfile.cuda"]
UNIT = DEPLOY / "clap-export.service"
ROOT_FILES = "CLAP_ROOTFS"


def compose() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))


def kubernetes() -> dict[str, Any]:
    found = yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text("utf-8"))
    return {one["kind"]: one for one in found}


def pod() -> dict[str, Any]:
    return kubernetes()["Deployment"]["spec"]["template"]["spec"]


def unit() -> dict[str, list[str]]:
    """Settings of the unit, by name."""
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text("utf-8").splitlines():
        if "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def commands() -> dict[str, list[str]]:
    """What each file gives to ``clap-export serve``."""
    found = {path.name: stages(path)[-1].command("ENTRYPOINT")[2:] for path in DOCKERFILES}
    for name, service in compose()["services"].items():
        found[name] = ["/bundle", *service["command"]]
    found["kubernetes"] = ["/bundle", *pod()["containers"][0]["args"]]
    found["unit"] = shlex.split(unit()["ExecStart"][0])[2:]
    return found


def value(command: list[str], option: str) -> str:
    return command[command.index(option) + 1]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.name)
def test_images_have_what_is_needed_and_nobody_is_root(path: Path) -> None:
    build, final = stages(path)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    (chosen,) = build.all("ARG")
    names = set(chosen.removeprefix("EXTRAS=").split(","))
    assert names <= set(extras["optional-dependencies"])
    assert not names & {"export", "train", "dev"}
    allowed = (DEPLOY / f"{path.name}.dockerignore").read_text("utf-8").splitlines()
    for text in build.all("COPY"):
        for name in text.split()[:-1]:
            assert (ROOT / name).exists()
            assert f"!{name}" in allowed
    user, group = final.all("USER")[0].split(":")
    assert int(user) == int(group) > 0
    assert "readyz" in final.command("HEALTHCHECK")[-1]
    assert final.all("STOPSIGNAL") == ["SIGTERM"]


def test_the_two_images_differ_in_their_engine_alone() -> None:
    one, other = (stages(path)[-1] for path in DOCKERFILES)
    assert other.command("ENTRYPOINT") == [*one.command("ENTRYPOINT"), "--provider", "cuda"]
    added = [step for step in other.steps if step not in one.steps]
    assert {name for name, _ in added} == {"ENV", "ENTRYPOINT"}


def test_serve_has_every_option_that_is_given() -> None:
    serve: Any = pytest.importorskip("clap_export.cli.serve").serve
    known = {name for option in serve.params for name in option.opts}
    for where, command in commands().items():
        given = {word for word in command if word.startswith("--")}
        assert given <= known, where


def test_all_wait_for_requests_to_end() -> None:
    found = commands()
    for service in compose()["services"].values():
        drains = int(value(service["command"], "--drain-seconds"))
        assert drains < int(service["stop_grace_period"].removesuffix("s"))
    (container,) = pod()["containers"]
    waits = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    drains = int(value(found["kubernetes"], "--drain-seconds"))
    assert waits + drains < pod()["terminationGracePeriodSeconds"]
    assert int(value(found["unit"], "--drain-seconds")) < int(unit()["TimeoutStopSec"][0])


def test_compose_is_closed_to_the_network_and_the_disk() -> None:
    for service in compose()["services"].values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in service["security_opt"]
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        assert all(volume.endswith(":ro") for volume in service["volumes"])
        assert (DEPLOY / service["build"]["context"]).resolve() == ROOT
        assert (ROOT / service["build"]["dockerfile"]).exists()
        assert service["mem_limit"]


def test_kubernetes_knows_every_field() -> None:
    validate = pytest.importorskip("kubernetes_validate", reason="pip install kubernetes-validate")
    found = kubernetes()
    assert set(found) == {"Deployment", "Service", "PodDisruptionBudget"}
    for document in found.values():
        validate.validate(document, "1.30", strict=True)
    wrong = {**found["Service"], "specs": {}}
    with pytest.raises(validate.ValidationError):
        validate.validate(wrong, "1.30", strict=True)


def test_a_pod_is_probed_limited_and_not_root() -> None:
    (container,) = pod()["containers"]
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    for probe in ("startupProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["path"] == "/readyz"
    assert set(container["resources"]["limits"]) == {"cpu", "memory"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    user = stages(DOCKERFILES[0])[-1].all("USER")[0]
    security = pod()["securityContext"]
    assert user == f"{security['runAsUser']}:{security['runAsGroup']}"
    # Everything that is mounted is there, and the one place to write to is /tmp.
    volumes = {volume["name"] for volume in pod()["volumes"]}
    mounts = container["volumeMounts"]
    assert {mount["name"] for mount in mounts} == volumes
    assert [m["mountPath"] for m in mounts if not m.get("readOnly")] == ["/tmp"]
    labels = kubernetes()["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert kubernetes()["Service"]["spec"]["selector"].items() <= labels.items()


def test_systemd_takes_the_unit_and_finds_it_closed(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not here")
    program = unit()["ExecStart"][0].split()[0]
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text("utf-8").replace(program, sys.executable), "utf-8")

    def run(*arguments: object) -> str:
        command = [analyze, "--no-pager", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    assert run("verify", copy) == ""
    exposed = re.search(r"exposure level for .*: ([0-9.]+)", run("security", "--offline=1", copy))
    assert exposed is not None
    assert float(exposed[1]) < 2


def test_limits_of_memory_are_above_the_services_own(tiny_bundle: Path) -> None:
    pytest.importorskip("clap_export.cli.serve")
    from clap_export.serve.limits import MIB, Limits

    gib = 1024 * MIB
    # HTSAT's 10 s at 48 kHz and 512 dimensions, on two cores: see ServeRequest.setup.
    spec = dataclasses.replace(Bundle(tiny_bundle).manifest.audio, window_samples=480_000)
    limits, program = Limits(quick=8), 600 * MIB
    least = limits.most_memory(spec, 512, waiting=8) + program
    on_gpu = Limits(quick=32).most_memory(spec, 512, waiting=64) + 2 * program
    unit_limit = int(unit()["MemoryMax"][0].removesuffix("G")) * gib
    (container,) = pod()["containers"]
    pod_limit = int(container["resources"]["limits"]["memory"].removesuffix("Gi")) * gib
    assert min(unit_limit, pod_limit) > least
    for name, needed in (("clap", least), ("clap-cuda", on_gpu)):
        service = compose()["services"][name]
        (uploads,) = service["tmpfs"]
        in_memory = int(uploads.removeprefix("/tmp:size=").removesuffix("g")) * gib
        assert int(service["mem_limit"].removesuffix("g")) * gib > needed + in_memory, name
    (volume,) = [one for one in pod()["volumes"] if "emptyDir" in one]
    assert int(volume["emptyDir"]["sizeLimit"].removesuffix("Gi")) * gib > limits.disk


@pytest.mark.slow
def test_the_steps_of_the_dockerfile_make_a_service(tiny_bundle: Path, tmp_path: Path) -> None:
    """Without a Docker engine: the steps in a root file system that debootstrap made."""
    base = Path(os.environ.get(ROOT_FILES, ""))
    if ROOT_FILES not in os.environ or os.geteuid() != 0:
        pytest.skip(
            f"as root, set {ROOT_FILES} to what was made by: "
            "debootstrap --variant=minbase bookworm FOLDER"
        )
    pytest.importorskip("clap_export.cli.serve")
    image = Built(DOCKERFILES[0], ROOT, base, tmp_path)
    print(f"\nimage: {image.bytes() / 1e6:.0f} MB, base {Built.size(base) / 1e6:.0f} MB")
    packages = {path.name for path in (image.root / "opt/clap/lib").glob("*/site-packages/*")}
    assert {"runtime", "clap_export", "onnxruntime", "fastapi"} <= packages
    assert not packages & {"torch", "transformers", "onnx", "train", "pip"}

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = image.stage.command("ENTRYPOINT")
    command[command.index("--host") + 1] = "127.0.0.1"
    command[command.index("--port") + 1] = port
    tiny_bundle.chmod(0o755)
    with image.start(command, {"/bundle": tiny_bundle}) as process:
        try:
            end = time.monotonic() + 60
            while not _ready(port):
                assert process.poll() is None
                assert time.monotonic() < end
                time.sleep(0.2)
            uids = Path(f"/proc/{process.pid}/status").read_text().split("Uid:")[1].split()[:4]
            assert set(uids) == {image.stage.all("USER")[0].split(":")[0]}
            health = image.stage.command("HEALTHCHECK")
            check = [word.replace(":8000/", f":{port}/") for word in health]
            assert image.start(check, {}).wait(30) == 0
        finally:
            process.terminate()
    assert process.returncode in (0, 143)


def _ready(port: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
            return True
    except OSError:
        return False
