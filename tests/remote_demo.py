"""DVC's remote on S3 from end to end: `make remote-demo`, or `python -m tests.remote_demo`.

In a temporary clone: push the outputs of `make repro`, delete cache and workspace, pull, and see
that `dvc repro` runs nothing. The remote is moto's server on loopback, or with --endpoint and
--bucket a real one, whose credentials come from the environment alone. Nothing is left behind: what
was pushed, the clone and its cache are deleted, also after a failure or Ctrl-C. Until then outputs
of 1.5 GB take 3 GB in $TMPDIR, and as much memory as they are large with moto.
"""

import argparse
import logging
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from moto.server import ThreadedMotoServer

from pipeline.runtime.cli import run_stage
from pipeline.runtime.errors import PipelineError
from tests.clones import UP_TO_DATE, clone_working_tree, dvc_cache_dir, environment

CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
# moto asks for credentials and takes any. A proxy of the user's must not be asked for loopback.
ANYBODY = dict.fromkeys(CREDENTIALS, "moto") | {"NO_PROXY": "127.0.0.1"}
NAME = "demo"


@dataclass(frozen=True)
class Remote:
    """A place for one demonstration in a bucket. variables: credentials, for DVC's environment."""

    endpoint: str
    bucket: str
    prefix: str
    variables: dict[str, str]

    @property
    def url(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"

    def sizes(self) -> list[int]:
        """Bytes of every object that was pushed."""
        return [found.size for found in self._bucket().objects.filter(Prefix=self.prefix)]

    def create(self) -> None:
        self._bucket().create()

    def clear(self) -> None:
        self._bucket().objects.filter(Prefix=self.prefix).delete()

    def _bucket(self) -> Any:
        key_id, secret = (self.variables[name] for name in CREDENTIALS)
        s3 = boto3.resource(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=key_id,
            aws_secret_access_key=secret,
        )
        return s3.Bucket(self.bucket)


@dataclass(frozen=True)
class Step:
    """sizes: bytes of each object that was moved or deleted."""

    name: str
    sizes: Sequence[int]
    taken_s: float

    def row(self) -> str:
        return (
            f"{self.name:24} {len(self.sizes):8d} {sum(self.sizes) / 1e6:9.1f} {self.taken_s:8.1f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.remote_demo", description=__doc__)
    parser.add_argument("--endpoint", help="of a real S3, as https://s3.eu-central-1.amazonaws.com")
    parser.add_argument("--bucket", help="an existing bucket there; a folder of it is used")
    args = parser.parse_args()
    if bool(args.endpoint) != bool(args.bucket):
        raise PipelineError("remote-demo: give --endpoint and --bucket together, or neither")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    remote = real_remote(args.endpoint, args.bucket) if args.endpoint else moto_remote()
    with remote as place, tempfile.TemporaryDirectory() as folder:
        repo = Path(folder) / "repo"
        clone_working_tree(repo)
        print(f"{'step':24} {'objects':>8} {'MB':>9} {'seconds':>8}")
        for step in demonstrated(repo, place, restore=fetch_from_checkout):
            print(step.row(), flush=True)
    print(f"remote-demo: {UP_TO_DATE} Nothing was left behind.")


@contextmanager
def moto_remote() -> Iterator[Remote]:
    """moto's server on a free port of loopback, with a bucket; it ends when the block does."""
    # One line a request, of which there are tens of thousands.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    remote = Remote(f"http://{host}:{port}", "inswapper", _prefix(), ANYBODY)
    remote.create()
    try:
        yield remote
    finally:
        # moto would keep the objects in this process.
        remote.clear()
        server.stop()


@contextmanager
def real_remote(endpoint: str, bucket: str) -> Iterator[Remote]:
    """A folder of its own in an existing bucket. Raises PipelineError without credentials."""
    missing = [name for name in CREDENTIALS if not os.environ.get(name)]
    if missing:
        raise PipelineError(f"remote-demo: {' and '.join(missing)} must be set in the environment")
    remote = Remote(endpoint, bucket, _prefix(), {name: os.environ[name] for name in CREDENTIALS})
    try:
        yield remote
    finally:
        remote.clear()


def demonstrated(
    repo: Path, remote: Remote, restore: Callable[["Dvc"], None], targets: Sequence[str] = ()
) -> Iterator[Step]:
    """Each step when it is done. restore: make the outputs in the clone. targets: stages, all if
    none. Raises PipelineError when a step fails or something has to be run at the end."""
    dvc = Dvc(repo, tuple(targets), remote.variables)
    cache = repo / ".dvc/cache/files"
    yield _step("outputs of this checkout", lambda: restore(dvc), lambda: _sizes(cache))
    dvc("remote", "add", "--local", "--default", NAME, remote.url)
    dvc("remote", "modify", "--local", NAME, "endpointurl", remote.endpoint)
    yield _step("dvc push", lambda: dvc("push", *targets), remote.sizes)
    gone = _sizes(cache)
    yield _step("delete cache, workspace", dvc.wipe, lambda: gone)
    yield _step("dvc pull", lambda: dvc("pull", *targets), lambda: _sizes(cache))
    yield _step("dvc status, dvc repro", dvc.expect_unchanged, list)


class Dvc:
    """DVC in the clone, with caches of its own that go with it."""

    def __init__(self, repo: Path, targets: tuple[str, ...], variables: dict[str, str]) -> None:
        self.repo = repo
        self.targets = targets
        self._index = repo.with_name("dvc-index")
        self._environment = environment() | variables | {"DVC_SITE_CACHE_DIR": str(self._index)}

    def __call__(self, *arguments: str) -> str:
        """Both streams together. Raises PipelineError with what DVC said last."""
        return self._run("dvc", *arguments)

    def wipe(self) -> None:
        """Delete the cache, DVC's index and everything that Git ignores; the settings stay."""
        for folder in (self.repo / ".dvc/cache", self.repo / ".dvc/tmp", self._index):
            shutil.rmtree(folder, ignore_errors=True)
        self._run("git", "clean", "-dfqX", "--", ".", ":!.dvc")

    def expect_unchanged(self) -> None:
        """Raises PipelineError when `dvc status` reports anything or `dvc repro` runs a stage."""
        for command in ("status", "repro"):
            said = self(command, *self.targets)
            if UP_TO_DATE not in said or "Running stage" in said:
                raise PipelineError(f"dvc {command}: expected {UP_TO_DATE!r}, got:\n{said}")

    def _run(self, *command: str) -> str:
        done = subprocess.run(
            command,
            cwd=self.repo,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            raise PipelineError(f"{' '.join(command[:2])} failed: {done.stdout.strip()[-500:]}")
        return done.stdout


def fetch_from_checkout(dvc: Dvc) -> None:
    """Copy this checkout's outputs, since to make them takes 12 minutes. Raises PipelineError."""
    # A cache has the layout of a remote that is a folder.
    dvc("remote", "add", "--local", "checkout", dvc_cache_dir())
    try:
        dvc("pull", "--remote", "checkout")
        dvc.expect_unchanged()
    except PipelineError:
        raise PipelineError(
            "remote-demo: the outputs of this checkout are not complete or out of date;"
            " run `make repro` first"
        ) from None


def _step(name: str, work: Callable[[], object], sizes: Callable[[], list[int]]) -> Step:
    started = time.perf_counter()
    work()
    taken_s = time.perf_counter() - started
    return Step(name, sizes(), taken_s)


def _sizes(folder: Path) -> list[int]:
    return [path.stat().st_size for path in folder.rglob("*") if path.is_file()]


def _prefix() -> str:
    return f"remote-demo-{secrets.token_hex(8)}"


if __name__ == "__main__":
    run_stage(main)
