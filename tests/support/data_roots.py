"""Data roots whose files contain only their names, for tests that list them."""

from pathlib import Path

HEADER = "path,label,source"


def make_root(root: Path, *names: str, images: str = HEADER, identities: str = "") -> Path:
    """Write files below the root, each with its name as content, and the root's CSV files."""
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
