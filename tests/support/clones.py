"""Temporary clones of the repository, and the README's commands run in them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.imports import ROOT

BIN = Path(sys.executable).parent


# Output of `dvc status` and `dvc repro` if nothing has changed.
UP_TO_DATE = "Data and pipelines are up to date."
# Variables with which a make started by `make test` would print its working folders.
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
    """Folder of this checkout's DVC cache."""
    return run(ROOT, "dvc", "cache", "dir").strip()


def shell(repo: Path, command: str) -> str:
    """Run one line in a shell, in the repository's folder."""
    return run(repo, "bash", "-euc", command)


def clone_working_tree(target: Path) -> None:
    """Clone HEAD, then copy uncommitted changes and new files into the clone."""
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
