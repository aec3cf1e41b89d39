"""Data roots of files that hold their own names, to be listed and never opened."""

from pathlib import Path

HEADER = "path,label,source"


def make_root(root: Path, *names: str, images: str = HEADER, identities: str = "") -> Path:
    """Files below the root, each with its own name as content, and its CSV files."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    root.mkdir(parents=True, exist_ok=True)
    (root / "images.csv").write_text(images + "\n")
    if identities:
        (root / "inswapper" / "identities.csv").write_text(identities + "\n")
    return root


def original(stem: str) -> str:
    return f"inswapper/original_videos/{stem}.mp4"


def swapped(stem: str) -> str:
    return f"inswapper/inswapper/{stem}.mp4"
