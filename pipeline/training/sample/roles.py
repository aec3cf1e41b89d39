"""Roles of the people in the embedded sample: their source faces and the swaps made of them."""

from dataclasses import dataclass

from pipeline.inputs.images import ImageEntry
from pipeline.inputs.people import IdentityEntry
from pipeline.runtime.sections import BuildSampleParams
from pipeline.training.sample.sources import Cast, Person


@dataclass(frozen=True)
class Role:
    """Plan for one person.

    source: the person whose face the swaps get; None for the person's own.
    has_uniface: whether to make a UniFace-like swap too.
    """

    person: Person
    index: int
    source: Person | None
    has_uniface: bool

    @property
    def source_id(self) -> str:
        return "" if self.source is None else self.source.identity_id


@dataclass(frozen=True)
class Made:
    """Rows of images.csv and identities.csv, and the number of clips and of their frames."""

    images: tuple[ImageEntry, ...] = ()
    identities: tuple[IdentityEntry, ...] = ()
    clips: int = 0
    frames: int = 0

    @property
    def people(self) -> int:
        still = {entry.identity_id for entry in self.images}
        return len(still | {entry.identity_id for entry in self.identities})

    def __add__(self, other: "Made") -> "Made":
        return Made(
            self.images + other.images,
            self.identities + other.identities,
            self.clips + other.clips,
            self.frames + other.frames,
        )


def assign_roles(cast: Cast, params: BuildSampleParams) -> list[Role]:
    """Select the people of the sample, their source faces, and those with a UniFace-like swap."""
    people = cast.people[: params.max_people]
    filmed = [person for person in people if not person.stills_only]
    swapped = [person for n, person in enumerate(filmed) if _evenly(n, params.cross_identity_frac)]
    sources = dict(zip(swapped, cast.donors, strict=False))
    return [
        Role(
            person=person,
            index=index,
            source=sources.get(person),
            has_uniface=_evenly(index, params.uniface_frac),
        )
        for index, person in enumerate(people)
    ]


def _evenly(index: int, frac: float) -> bool:
    """Whether `index` is in an evenly spread fraction `frac` of all indices."""
    return int((index + 1) * frac + 1e-9) > int(index * frac + 1e-9)
