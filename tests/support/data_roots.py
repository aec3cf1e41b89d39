"""Data roots whose files contain only their names, for tests that list them."""

from pathlib import Path

HEADER = "path,label,source"


def make_root(
    root: Path, *names: str, images: str = HEADER, identities: str = "", videos: str = ""
) -> Path:
    """Write files below the root, each with its name as content, and the root's CSV files."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    root.mkdir(parents=True, exist_ok=True)
    (root / "images.csv").write_text(images + "\n")
    if identities:
        (root / "inswapper" / "identities.csv").write_text(identities + "\n")
    if videos:
        (root / "inswapper" / "videos.csv").write_text(videos + "\n")
    return root


def original(stem: str) -> str:
    return f"inswapper/original_videos/{stem}.mp4"


def swapped(stem: str, kind: str = "inswapper") -> str:
    return f"inswapper/{kind}/{stem}.mp4"


def rtfs_names() -> list[str]:
    """Files named as in RTFS-10k: 10 people, 20 clips, 40 fakes, ids with `_` and `-` anywhere."""
    ids = [
        "abcdefghijk",
        *(f"{'abcdefghijk'[:at]}{'_-'[at % 2]}{'abcdefghijk'[at + 1 :]}" for at in range(7)),
    ]
    ids += ["_-_12_34-56", "-__________"]
    names = []
    for number, person in enumerate(ids):
        for start in (0, 105):
            clip = f"{person}_{start}_{start + 10 + number}"
            names.append(original(clip))
            for kind, gender in (("inswapper", "man"), ("uniface", "woman")):
                names.append(swapped(f"{kind}_{clip}_{number}-{start}_{gender}", kind))
    return names
