"""Every README: what it names exists, and the main one stays short."""

import json
import re
import subprocess
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
import yaml

from tests.support.imports import ROOT
from tests.support.readmes import readme, section

FILES = (
    "README.md",
    ".github/CONTRIBUTING.md",
    ".github/SECURITY.md",
    "data/README.md",
    "data/release/LICENSE.md",
    "metrics/README.md",
    "pipeline/README.md",
    "serve/README.md",
    "serve/deploy/README.md",
    "stages/README.md",
    "tests/README.md",
    "tests/bench/README.md",
)
FOLDERS = "stages|pipeline|serve|tests|metrics|plots|data|.github|.dvc|.ci"
# Pages of the repository's host, not files.
HOST_PAGES = "../../actions/"
# Made by stages or put there by the user; `data` holds little else.
MADE = ("data/", "metrics/train", ".dvc/tmp", ".dvc/config.local")
KEPT = ("data/release", "data/README.md")


def prose(path: str) -> str:
    """A README without its generated parts, which may name what is gone."""
    return re.sub(r"<!-- begin .*?<!-- end ", "", readme(path), flags=re.DOTALL)


def code(path: str) -> str:
    """Code blocks and inline code, one per line."""
    text = prose(path)
    fenced = re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    rest = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return "\n".join([*fenced, *re.findall(r"`([^`\n]+)`", rest)])


def anchors(path: Path) -> set[str]:
    """The fragments that headings of a Markdown file get."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def expanded(pattern: str) -> Iterator[str]:
    """`{a,b}` as a shell reads it."""
    pieces = re.split(r"\{([^}]*)\}", pattern)
    choices = [piece.split(",") if n % 2 else [piece] for n, piece in enumerate(pieces)]
    return ("".join(chosen) for chosen in product(*choices))


def test_no_readme_is_left_out() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*README.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert {name for name in FILES if name.endswith("README.md")} == set(listed)


def test_the_main_readme_is_short() -> None:
    assert len(readme("README.md").splitlines()) <= 200


@pytest.mark.parametrize("path", FILES)
def test_links(path: str) -> None:
    here = (ROOT / path).parent
    for target in re.findall(r"\]\(([^)\s]+)\)", readme(path)):
        if target.startswith(("https://", HOST_PAGES)):
            continue
        name, _, fragment = target.partition("#")
        found = here / name if name else ROOT / path
        assert found.exists(), f"{path}: {target}"
        assert not fragment or fragment in anchors(found), f"{path}: {target}"


@pytest.mark.parametrize("path", FILES)
def test_modules_and_make_targets(path: str) -> None:
    text = code(path)
    for module in re.findall(r" -m ([a-z_]+(?:\.[a-z_]+)*)(?![.\w])", text):
        if module.split(".")[0] in ("stages", "pipeline", "serve", "tests"):
            script = ROOT / module.replace(".", "/")
            assert script.with_suffix(".py").is_file() or (script / "__main__.py").is_file(), module
    for module in re.findall(r"uvicorn ([a-z_.]+):app", text):
        assert (ROOT / module.replace(".", "/")).with_suffix(".py").is_file(), module
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    for line in re.findall(r"^make ([^#\n]*)", text, re.MULTILINE):
        named = {word for word in line.split() if "=" not in word}
        assert named <= targets, f"{path}: make {line}"


@pytest.mark.parametrize("path", FILES)
def test_files_and_folders(path: str) -> None:
    named = re.findall(rf"(?<![\w./$<-])((?:{FOLDERS})/[\w./*{{}},@-]*)", code(path))
    for pattern in named:
        for name in expanded(pattern.rstrip(".,")):
            made = name.startswith(MADE) and not name.startswith(KEPT)
            if made or "NAME" in name:
                continue
            assert list(ROOT.glob(name.rstrip("/"))), f"{path}: {name}"


@pytest.mark.parametrize("path", FILES)
def test_parameters_and_variables(path: str) -> None:
    sections = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    for section_name, key in re.findall(rf"\b({'|'.join(sections)})\.(\w+)", code(path)):
        in_params = key in sections[section_name]
        # model.views is a parameter, model.py a file, train.lrr a mistake.
        assert in_params or key in ("py", "csv", "json", "zarr", "lrr"), f"{section_name}.{key}"
    known = (ROOT / ".env.example").read_text(encoding="utf-8") + "".join(
        source.read_text(encoding="utf-8") for source in (ROOT / "pipeline").rglob("*.py")
    )
    for variable in re.findall(r"INSWAPPER_\w+", readme(path)):
        assert variable in known, f"{path}: {variable}"


def test_the_examples_for_contributors_are_commits() -> None:
    table = section(".github/CONTRIBUTING.md", "Where things go")
    commits = re.findall(r"`([0-9a-f]{7})`", table)
    assert len(commits) == len(re.findall(r"^\| an? ", table, re.MULTILINE))
    git = ["git", "-C", str(ROOT)]
    shallow = subprocess.run(
        [*git, "rev-parse", "--is-shallow-repository"], capture_output=True, text=True, check=False
    ).stdout
    if shallow.strip() != "false":
        pytest.skip("the history is not here")
    for commit in commits:
        subprocess.run([*git, "cat-file", "-e", f"{commit}^{{commit}}"], check=True)


def test_hooks_and_editors() -> None:
    """Hooks use installed programs only; editor and container list the same extensions."""
    hooks = yaml.safe_load(readme(".pre-commit-config.yaml"))["repos"]
    assert [repo["repo"] for repo in hooks] == ["local"]
    programs = {hook["entry"].split()[0] for hook in hooks[0]["hooks"]}
    assert programs == {".venv/bin/ruff", ".venv/bin/mypy"}
    assert {hook["language"] for hook in hooks[0]["hooks"]} == {"system"}
    container = json.loads(readme(".devcontainer/devcontainer.json"))
    recommended = json.loads(readme(".vscode/extensions.json"))["recommendations"]
    assert container["customizations"]["vscode"]["extensions"] == recommended
    assert container["postCreateCommand"] == "make setup"
    (test,) = [step["run"] for step in _steps(".github/workflows/ci.yml") if "run" in step]
    assert (ROOT / test.removeprefix("bash ")).is_file()


def _steps(path: str) -> list[dict[str, str]]:
    (job,) = yaml.safe_load(readme(path))["jobs"].values()
    return list(job["steps"])


def test_licences_agree() -> None:
    """The code is MIT-licensed and the weights are not, wherever terms are given."""
    assert readme("LICENSE").startswith("MIT License\n")
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert 'license = "MIT"\nlicense-files = ["LICENSE"]\n' in project
    citation = yaml.safe_load(readme("CITATION.cff"))
    assert citation["license"] == "MIT"
    assert f'version = "{citation["version"]}"' in project
    assert "for research" in readme("data/release/LICENSE.md")
    assert "offered for research\nonly" in readme("data/release/model_card.md")
    assert "for research only" in readme("pipeline/training/export/model_card.md.j2")
    assert "for research only" in section("README.md", "Contributing, citation, licence")
    listed = json.loads(readme("data/release/detector.json"))["files"]
    assert all(f"`{name}`" in readme("data/release/LICENSE.md") for name in listed)
