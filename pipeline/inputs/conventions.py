"""Naming conventions of video data sets: a fake's original and the person in an original.

A name is a path without suffix, relative to its folder, e.g. `clip` or `anna/clip`.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

SEPARATORS: Final = "_-. "
# YouTube ids have 11 characters, which may be `_` and `-` themselves.
RTFS_CLIP: Final = r"(?P<person>[A-Za-z0-9_-]{11})_\d+(?:\.\d+)?_\d+(?:\.\d+)?"
CELEB_CLIP: Final = r"(?P<person>id\d+)_\d+"


class Originals:
    """Names of the original videos."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = list(names)
        self._exact = set(self.names)
        self._folded = _unique((name.casefold(), name) for name in self.names)
        self._by_stem = _unique((_stem(name).casefold(), name) for name in self.names)

    def find(self, name: str) -> str:
        """The original of that name; up to case, or in another folder, if only one has it.

        A name in one sub-folder is not found in a different one. Returns "" without a match.
        """
        if name in self._exact:
            return name
        if same_path := self._folded.get(name.casefold()):
            return same_path
        found = self._by_stem.get(_stem(name).casefold(), "")
        return "" if "/" in name and "/" in found else found


@dataclass(frozen=True)
class Match:
    """Original of a fake and, if its name states it, the origin of the inserted face.

    source_video: name of the original that shows the inserted person. source_person: that
    person's name. source_photo: name of the photograph.
    """

    original: str
    source_video: str = ""
    source_person: str = ""
    source_photo: str = ""


@dataclass(frozen=True)
class Convention:
    """A rule for the names of fakes. pattern: shown to people. match: (name, folder, originals)."""

    pattern: str
    match: Callable[[str, str, Originals], Match | None]


def _rtfs(name: str, folder: str, originals: Originals) -> Match | None:
    photo = r"(?P<photo>\d+-\d+(?:_[A-Za-z]+)?)"
    found = re.fullmatch(f"(?:{re.escape(folder)}_)?(?P<clip>{RTFS_CLIP})_{photo}", _stem(name))
    original = originals.find(_beside(name, found["clip"])) if found else ""
    return Match(original, source_photo=found["photo"]) if found and original else None


def _celeb_df(name: str, _folder: str, originals: Originals) -> Match | None:
    found = re.fullmatch(r"(?P<target>id\d+)_(?P<source>id\d+)_(?P<clip>\d+)", _stem(name))
    original = originals.find(_beside(name, f"{found['target']}_{found['clip']}")) if found else ""
    return Match(original, source_person=found["source"]) if found and original else None


def _original_first(name: str, folder: str, originals: Originals) -> Match | None:
    stem = _stem(name)
    for own in dict.fromkeys((stem, stem.removeprefix(f"{folder}_"))):
        ends = [len(own), *(at for at in range(len(own) - 1, 0, -1) if own[at] in SEPARATORS)]
        for end in ends:
            original = originals.find(_beside(name, own[:end]))
            rest = own[end + 1 :]
            source = originals.find(_beside(name, rest)) if rest else ""
            # `a-b` of two originals is source-target, as roop and FaceFusion write it.
            if original and not (source and own[end] == "-"):
                return Match(original, source_video=source)
    return None


def _original_last(name: str, _folder: str, originals: Originals) -> Match | None:
    stem = _stem(name)
    for at in (at for at, letter in enumerate(stem) if letter == "-"):
        if original := originals.find(_beside(name, stem[at + 1 :])):
            source = originals.find(_beside(name, stem[:at]))
            return Match(original, source, source_photo="" if source else stem[:at])
    return None


# With equal counts the first one is used.
CONVENTIONS: Final = (
    Convention("RTFS-10k, <folder>_<original>_<n>-<n>_<gender>", _rtfs),
    Convention("Celeb-DF, <target id>_<source id>_<clip>", _celeb_df),
    Convention("<original> or <original>_<anything>", _original_first),
    Convention("<source>-<original>, as roop and FaceFusion write it", _original_last),
)


def match_fakes(
    names: Sequence[str], folder: str, originals: Originals
) -> tuple[Convention, dict[str, Match]]:
    """The convention that finds the originals of most fakes in a folder, and its matches by name.

    One convention holds for the whole folder, because a single name may fit several.
    """
    found = []
    for convention in CONVENTIONS:
        matches = {name: convention.match(name, folder, originals) for name in names}
        found.append((convention, {name: match for name, match in matches.items() if match}))
    return max(found, key=lambda pair: len(pair[1]))


def people_of(names: Sequence[str]) -> tuple[str, dict[str, str]]:
    """Person in each original, and the rule that was used, in words.

    The rule of a data set is used if at least half of the names follow it. Other names in
    sub-folders show the person that the sub-folder is named after, all others one person each.
    """
    by_folder = _people_by_folder(names)
    for rule, pattern in (
        ("RTFS-10k, <YouTube id>_<start>_<end>", RTFS_CLIP),
        ("Celeb-DF, <id>_<clip>", CELEB_CLIP),
    ):
        found = {name: re.fullmatch(pattern, _stem(name)) for name in names}
        people = {name: match["person"] for name, match in found.items() if match}
        if names and 2 * len(people) >= len(names):
            return rule, by_folder | people
    nested = any("/" in name for name in names)
    rule = "one person per sub-folder" if nested else "one person per video"
    return rule, by_folder


def _people_by_folder(names: Sequence[str]) -> dict[str, str]:
    """First sub-folder of each name that is not common to all names, or else the name."""
    parents = [PurePosixPath(name).parent.parts for name in names]
    depth = 0
    while parents and all(len(p) > depth + 1 and p[depth] == parents[0][depth] for p in parents):
        depth += 1
    return {
        name: folders[depth] if len(folders) > depth else name
        for name, folders in zip(names, parents, strict=True)
    }


def _stem(name: str) -> str:
    return name.rpartition("/")[2]


def _beside(name: str, stem: str) -> str:
    """A stem in the folder of `name`."""
    return name[: len(name) - len(_stem(name))] + stem


def _unique(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Values by key, without the keys that have several values."""
    values: dict[str, list[str]] = defaultdict(list)
    for key, value in pairs:
        values[key].append(value)
    return {key: found[0] for key, found in values.items() if len(found) == 1}
