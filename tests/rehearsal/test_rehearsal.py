"""tests.rehearsal: tiny clips of drawn people, made once, and stages killed midway in a clone."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.media.video import probe, read_frames
from tests.rehearsal.__main__ import KILLED, VISUAL, clone_with, planned, run_killed, run_on
from tests.rehearsal.making import make_clips
from tests.rehearsal.measuring import file_count
from tests.rehearsal.plan import VIDEOS_PER_CLIP, Clip, Format
from tests.support.synthetic import draw_clip, write_clip

TINY = Format(lengths_s=(1, 2), heights_px=(240,))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Clip]]:
    folder = tmp_path_factory.mktemp("rehearsal")
    sources = folder / "sources"
    sources.mkdir()
    for person in range(2):
        faces = draw_clip(person, scenes=1, frames_per_scene=16, height=240, width=320)
        write_clip(sources / f"{person}.mp4", faces)
    clips = planned(12, TINY)[:2]
    assert make_clips(folder / "videos", sources, clips, 1) == 2
    assert make_clips(folder / "videos", sources, clips, 1) == 0
    return folder, clips


@pytest.mark.slow
def test_clips_have_the_planned_length_and_fakes_that_differ_in_the_face(
    made: tuple[Path, list[Clip]],
) -> None:
    folder, clips = made
    for clip in clips:
        videos = [folder / "videos" / name for name in clip.files]
        for info in map(probe, videos):
            assert (info.width_px, info.height_px) == (clip.width_px, clip.height_px)
            assert info.duration_s == pytest.approx(clip.length_s)
        first = [next(read_frames(path, [5]))[2].astype(int) for path in videos]
        for fake in first[1:]:
            changed = np.abs(fake - first[0]).max(axis=2) > 24
            assert 0 < changed.mean() < 0.3


@pytest.mark.slow
def test_what_was_done_before_a_kill_is_used_again(made: tuple[Path, list[Clip]]) -> None:
    folder, clips = made
    with clone_with(folder, clips) as clone:
        run = run_on(clone, clips, VISUAL)
        files = {stage: file_count(clone / name) for stage, name in KILLED.items()}
        assert run.videos == VIDEOS_PER_CLIP * len(clips)
        assert run.video_bytes < sum(run.bytes.values())
    with clone_with(folder, clips) as clone:
        stages = run_killed(clone, files)["stages"]
    assert stages["extract_frames"]["items"] == run.videos
    assert stages["crop_faces"]["items"] == run.frames
    assert 0 < stages["crop_faces"]["reused"] < run.frames
    assert not (folder / "clone").exists()
