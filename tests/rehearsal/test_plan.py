"""tests.rehearsal.plan: names that are understood as those of RTFS-10k, and a stable plan."""

from collections import Counter

from pipeline.inputs.conventions import Originals, match_fakes, people_of
from tests.rehearsal.__main__ import planned
from tests.rehearsal.plan import PEOPLE, Format, seconds_of

CLIPS = planned(300, Format())[:-1]


def test_the_names_are_those_of_rtfs() -> None:
    originals = [clip.original.stem for clip in CLIPS]
    rule, people = people_of(originals)
    assert rule.startswith("RTFS-10k")
    assert people == {clip.original.stem: clip.youtube_id for clip in CLIPS}
    for folder in ("inswapper", "uniface"):
        fakes = {clip.fakes[folder].stem: clip.original.stem for clip in CLIPS}
        convention, matches = match_fakes(list(fakes), folder, Originals(originals))
        assert convention.pattern.startswith("RTFS-10k")
        assert {name: match.original for name, match in matches.items()} == fakes
        assert all(match.source_photo for match in matches.values())


def test_people_have_one_to_three_clips_of_five_to_fifteen_seconds() -> None:
    clips = Counter(clip.youtube_id for clip in CLIPS)
    assert (len(clips), set(clips.values())) == (PEOPLE, {1, 2, 3})
    assert {clip.length_s for clip in CLIPS} == set(range(5, 16))
    sizes = {(clip.width_px, clip.height_px) for clip in CLIPS}
    assert sizes == {(1280, 720), (1920, 1080)}
    assert seconds_of(CLIPS, 720) + seconds_of(CLIPS, 1080) == seconds_of(CLIPS)


def test_a_larger_rehearsal_starts_with_the_clips_of_a_smaller_one() -> None:
    few = planned(12, Format())
    assert len(few) == 4 + 1
    assert few == CLIPS[:5]
    assert len({clip.youtube_id for clip in few}) == 5
