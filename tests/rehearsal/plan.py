"""Plan of the rehearsal's clips: names as in RTFS-10k, lengths and sizes, all drawn from a seed."""

import string
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.inputs.videos import FAKES, ORIGINALS, VIDEOS

SEED = 17
PEOPLE = 60
# The first of them get a second clip, then a third.
PEOPLE_WITH_MORE = 28
# A source photo serves some five fakes.
PHOTOS = 40
ID_LETTERS = string.ascii_letters + string.digits + "_-"
VIDEOS_PER_CLIP = 1 + len(FAKES)


@dataclass(frozen=True)
class Format:
    """Sizes of the clips. lengths_s: shortest and longest. heights_px: of the people, in turn."""

    lengths_s: tuple[int, int] = (5, 15)
    heights_px: tuple[int, ...] = (720, 720, 1080)


@dataclass(frozen=True)
class Clip:
    """An original and its fakes. start_s: in the YouTube video, for the name only."""

    number: int
    person: int
    youtube_id: str
    start_s: int
    length_s: int
    height_px: int
    photo: str

    @property
    def width_px(self) -> int:
        """Width of a frame of 16:9, even."""
        return round(self.height_px * 16 / 9 / 2) * 2

    @property
    def seconds(self) -> int:
        """Length of the original and of its fakes together."""
        return VIDEOS_PER_CLIP * self.length_s

    @property
    def original(self) -> Path:
        """The original's path, relative to the data root."""
        return Path(VIDEOS, ORIGINALS, f"{self._stem}.mp4")

    @property
    def fakes(self) -> dict[str, Path]:
        """Paths of the fakes by folder, relative to the data root."""
        return {
            folder: Path(VIDEOS, folder, f"{folder}_{self._stem}_{self.photo}.mp4")
            for folder in FAKES
        }

    @property
    def files(self) -> list[Path]:
        return [self.original, *self.fakes.values()]

    @property
    def _stem(self) -> str:
        return f"{self.youtube_id}_{self.start_s}_{self.start_s + self.length_s}"


def planned_clip(number: int, wanted: Format) -> Clip:
    """The clip of that number, which does not depend on how many there are.

    The first PEOPLE clips show one person each.
    """
    person = number if number < PEOPLE else (number - PEOPLE) % PEOPLE_WITH_MORE
    rng = np.random.default_rng([SEED, number])
    photo = int(rng.integers(PHOTOS))
    return Clip(
        number=number,
        person=person,
        youtube_id=youtube_id(person),
        # Apart, so that no two clips of a person have one name.
        start_s=1000 * (number // PEOPLE + number // (PEOPLE + PEOPLE_WITH_MORE))
        + int(rng.integers(900)),
        length_s=int(rng.integers(wanted.lengths_s[0], wanted.lengths_s[1] + 1)),
        height_px=wanted.heights_px[person % len(wanted.heights_px)],
        photo=f"{photo}-{photo % 7}_{('man', 'woman')[photo % 2]}",
    )


def youtube_id(person: int) -> str:
    """Eleven letters, digits, `_` and `-`."""
    letters = np.random.default_rng([SEED, person, 1]).integers(len(ID_LETTERS), size=11)
    return "".join(ID_LETTERS[letter] for letter in letters)


def seconds_of(clips: Iterable[Clip], height_px: int = 0) -> int:
    """Length of all their videos. height_px: only those of this height; 0: of any."""
    return sum(clip.seconds for clip in clips if height_px in (0, clip.height_px))
