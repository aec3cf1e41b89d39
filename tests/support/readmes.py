"""The README files: sections and code blocks, named by path and heading."""

import re

from tests.support.imports import ROOT


def readme(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def section(path: str, title: str) -> str:
    """The text below the heading `## title`, as far as the next one of its level."""
    pattern = rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)"
    (found,) = re.findall(pattern, readme(path), re.DOTALL | re.MULTILINE)
    return str(found)


def blocks(path: str, title: str, language: str = "sh") -> list[str]:
    """The code blocks of a section in one language."""
    fenced = rf"^```{language}\n(.*?)^```"
    return re.findall(fenced, section(path, title), re.DOTALL | re.MULTILINE)


def commands(path: str, title: str, block: int = 0) -> list[str]:
    """The commands of one `sh` block of a section, without their comments.

    `make` takes the environment that runs the tests, and does not make one.
    """
    lines = [re.sub(r"\s+#.*", "", line) for line in blocks(path, title)[block].splitlines()]
    return [re.sub(r"^make ", "make -o .venv/.ready ", line) for line in lines if line]
