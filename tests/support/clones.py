"""Temporary clones of the repository, and commands in them as a reader types them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.imports import ROOT

BIN = Path(sys.executable).parent


# What `dvc status` and `dvc repro` say where nothing is to do.
UP_TO_DATE = "Data and pipelines are up to date."
# With these, a make below `make test` announces the folders that it works in.
OF_MAKE = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")


def environment() -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if name not in OF_MAKE},
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "DVC_NO_ANALYTICS": "1",
        "GIT_AUTHOR_NAME": "test",
        "GIT_AUTHOR_EMAIL": "test@example.org",
        "GIT_COMMITTER_NAME": "test",
        "GIT_COMMITTER_EMAIL": "test@example.org",
    }


def run(repo: Path, *command: str, ok: bool = True, timeout_s: int = 600, **variables: str) -> str:
    """Run a command in the clone; return both streams together."""
    done = subprocess.run(
        command,
        cwd=repo,
        env=environment() | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout_s,
    )
    assert (done.returncode == 0) == ok, f"{command}: exit {done.returncode}\n{done.stdout}"
    return done.stdout


def dvc_cache_dir() -> str:
    """The folder of the cache of this checkout."""
    return run(ROOT, "dvc", "cache", "dir").strip()


def shell(repo: Path, command: str) -> str:
    """Run one line as a reader does in the repository's folder."""
    return run(repo, "bash", "-euc", command)


def clone_working_tree(target: Path) -> None:
    """Clone HEAD, then lay the uncommitted changes of the tracked and new files over it."""
    subprocess.run(["git", "clone", "-q", str(ROOT), str(target)], check=True)
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        source, copy = ROOT / name, target / name
        if source.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, copy)
        else:
            copy.unlink(missing_ok=True)
