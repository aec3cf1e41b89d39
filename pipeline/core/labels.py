"""Label values and names shared by YAML, CSV, code, JSON and plots."""

from typing import Final, Literal

REAL: Final = 0
FAKE: Final = 1
UNKNOWN: Final = -1

FakeType = Literal["real", "inswapper", "uniface", "pseudo", "other"]
FAKE_TYPES: Final = ("pseudo", "inswapper", "uniface", "other")

BoundarySource = Literal["exact", "paired", "geometric", "none"]

QUALITY_NAMES: Final = ("pristine", "moderate", "heavy")
SPLITS: Final = ("train", "val", "test")
