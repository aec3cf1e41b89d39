"""The service on a local Ray of its own, started with serve/deploy/ray.yaml as a user does."""

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml

from tests.imports import ROOT
from tests.processes import environment, free_port

CONFIG = ROOT / "serve/deploy/ray.yaml"
LOOPBACK = "127.0.0.1"
TOKEN = "a-token-of-the-test"
ADMIN = {"Authorization": f"Bearer {TOKEN}"}
# Several Python processes start one after another.
START_S = 300
STOP_S = 120
ALONE = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Else Ray writes one into the home folder.
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
    # Ray gives way to everything else on the machine otherwise (15).
    "RAY_worker_niceness": "0",
    "RAY_OVERRIDE_NODE_IP_ADDRESS": LOOPBACK,
    # Its five seconds are not enough where every core is busy.
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
}


@dataclass(frozen=True)
class RayService:
    """process: the one that a user starts; all others come from it."""

    address: str
    process: subprocess.Popen[bytes]

    def replicas(self) -> list[psutil.Process]:
        """Those of `pictures`."""
        found = []
        for process in _family(self.process):
            with contextlib.suppress(psutil.Error):
                if any("ServeReplica:pictures" in part for part in process.cmdline()):
                    found.append(process)
        return found


@contextmanager
def ray_service(
    replicas: int,
    changes: dict[str, Any] | None = None,
    of_videos: dict[str, str] | None = None,
    **variables: str,
) -> Iterator[RayService]:
    """A service whose replicas are all ready.

    changes: other settings of the deployment `pictures`. of_videos: variables of `videos` alone.
    Ray counts half a core a replica, so that three find room. Its processes and files are gone
    afterwards.
    """
    port = free_port()
    address = f"http://{LOOPBACK}:{port}"
    # Ray's sockets lie below; their paths may have about 100 characters.
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as folder:
        config = Path(folder) / "ray.yaml"
        config.write_text(yaml.safe_dump(_config(port, replicas, changes or {}, of_videos or {})))
        with (Path(folder) / "log").open("w+") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.ray_service", str(config), folder],
                cwd=ROOT,
                env=environment(**ALONE, INSWAPPER_ADMIN_TOKEN=TOKEN, **variables),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            try:
                # And the one of the videos.
                _await_ready(process, address, replicas + 1, Path(log.name))
                yield RayService(address, process)
            finally:
                _stop(process)


def _config(
    port: int, replicas: int, changes: dict[str, Any], of_videos: dict[str, str]
) -> dict[str, Any]:
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    config["http_options"]["port"] = port
    for application in config["applications"]:
        for deployment in application["deployments"]:
            if deployment["ray_actor_options"]["num_cpus"]:
                deployment["ray_actor_options"]["num_cpus"] = 0.5
    pictures, videos, _ = (a["deployments"][0] for a in config["applications"])
    videos["ray_actor_options"]["runtime_env"]["env_vars"] |= of_videos
    del pictures["autoscaling_config"]
    pictures |= {"num_replicas": replicas, **changes}
    return dict(config)


def _await_ready(process: subprocess.Popen[bytes], address: str, replicas: int, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while _ready_replicas(address) < replicas:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, f"the service did not start:\n{log.read_text()}"
        time.sleep(0.5)


def _ready_replicas(address: str) -> int:
    """How many answer the administration, which starts last or not."""
    try:
        response = httpx.get(f"{address}/admin/replicas", headers=ADMIN, timeout=START_S)
    except httpx.TransportError:
        return 0
    return len(response.json()) if response.status_code == 200 else 0


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ctrl-C, as a user does. Nothing of this Ray may be left then; if so, it is killed."""
    family = _family(process)
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    _, left = psutil.wait_procs(family, timeout=STOP_S)
    for straggler in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            straggler.kill()
    process.kill()
    process.wait()
    assert left == []


def _family(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def main(config: str, folder: str) -> None:
    """`serve run`, with a Ray that nothing outside this machine reaches."""
    # Not in the tests' own process, where its warnings are errors.
    import ray
    from ray.serve.scripts import cli

    ray.init(
        address="local",
        include_dashboard=False,
        namespace="serve",
        num_cpus=2,
        _node_ip_address=LOOPBACK,
        _temp_dir=folder,
    )
    cli(["run", config])


if __name__ == "__main__":
    main(*sys.argv[1:])
