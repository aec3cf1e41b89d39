"""The project's import graph, read from the source with ast and never executed."""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("pipeline", "serve", "stages")


@cache
def imported_names(path: Path) -> frozenset[str]:
    """Dotted names that a source file imports, also inside functions.

    `from a import b` gives both `a` and `a.b`, because b may be a module.
    """
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.ImportFrom):
            raise ValueError(f"{path}: line {node.lineno}: relative imports are not followed")
    return frozenset(names)


def module_file(name: str) -> Path | None:
    """Project file of a dotted module name; None for packages and foreign modules."""
    path = ROOT.joinpath(*name.split(".")).with_suffix(".py")
    return path if name.split(".")[0] in PACKAGES and path.is_file() else None


def project_imports(path: Path) -> set[Path]:
    """Project files that a source file imports directly."""
    return {file for name in imported_names(path) if (file := module_file(name))}


def closure(path: Path) -> set[Path]:
    """A source file and all project files that it imports, directly or not."""
    reached: set[Path] = set()
    waiting = [path]
    while waiting:
        current = waiting.pop()
        if current not in reached:
            reached.add(current)
            waiting += project_imports(current)
    return reached


def sources(package: str) -> list[Path]:
    """All source files in and below a package folder, such as `pipeline/training`."""
    return sorted((ROOT / package).rglob("*.py"))
