"""The embedded sample: clips and stills of the cast, and their pseudo-swaps.

It shows that the pipeline works from videos to a decision, and says nothing about accuracy in the
field. One task makes everything of one person with that person's own random generator, so the
number of processes changes no byte.
"""

import shutil
from functools import partial
from pathlib import Path

import numpy as np

from pipeline.core.manifest import write_rows
from pipeline.faces.load import load_detector
from pipeline.inputs.images import ImageEntry
from pipeline.inputs.people import IdentityEntry
from pipeline.inputs.videos import VIDEOS
from pipeline.runtime.sections import BuildSampleParams
from pipeline.runtime.workers import map_in_processes
from pipeline.training.sample.clips import make_clips
from pipeline.training.sample.roles import Made, Role, assign_roles
from pipeline.training.sample.sources import Cast, fetch_archives
from pipeline.training.sample.stills import cut_still, make_still
from pipeline.training.sample.takes import MIN_SCORE, takes_of


def build_sample(root: Path, cast: Cast, params: BuildSampleParams, workers: int) -> Made:
    """Write the sample to `root`, which is emptied first; return its rows and counts.

    workers: number of processes, which affects only speed. Raises PackageError if a package or one
    of its files cannot be fetched, or no face is found in an image of the cast.
    """
    fetch_archives(cast)
    shutil.rmtree(root, ignore_errors=True)
    roles = assign_roles(cast, params)
    people = map_in_processes(partial(make_person, root, cast, params), roles, workers, "people")
    made = sum(people, Made())
    write_rows(root / "images.csv", made.images, ImageEntry)
    write_rows(root / VIDEOS / "identities.csv", made.identities, IdentityEntry)
    return made


def make_person(root: Path, cast: Cast, params: BuildSampleParams, role: Role) -> Made:
    """Write the clips and stills of one person to `root`; return their rows and counts."""
    rng = np.random.default_rng([params.seed, role.index])
    detector = load_detector("retinaface", min_score=MIN_SCORE)
    source = None if role.source is None else takes_of(role.source, 1, detector)[0].donor
    made = Made()
    if not role.person.stills_only:
        made += make_clips(root, cast, params, role, source, detector, rng)
    takes = takes_of(role.person, 1, detector)
    for number in range(params.stills_per_person):
        still = cut_still(takes[number % len(takes)], number >= len(takes), params, rng)
        made += make_still(root, role, number, still, rng)
    return made
