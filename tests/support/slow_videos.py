"""Videos that are long, large or slow to read, and the processes that read them."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import psutil

from pipeline.media.video_writer import write_video
from serve.video.reader import CHILD
from tests.support.synthetic import draw_scene, draw_scenery


def repeat(source: Path, target: Path, times: int) -> None:
    """Write a clip repeated `times` times, without re-encoding it."""
    with av.open(str(source)) as played, av.open(str(target), "w") as container:
        stream = container.add_stream_from_template(played.streams.video[0])
        packets = [packet for packet in played.demux(video=0) if packet.dts is not None]
        start = min(packet.dts for packet in packets)
        end = max(packet.pts + packet.duration for packet in packets)
        content = [(bytes(p), p.pts, p.dts, p.is_keyframe) for p in packets]
        for round_ in range(times):
            for data, pts, dts, is_keyframe in content:
                packet = av.Packet(data)
                shift = round_ * (end - start)
                packet.pts, packet.dts = pts + shift, dts + shift
                packet.time_base = packets[0].time_base
                packet.is_keyframe = is_keyframe
                packet.stream = stream
                container.mux(packet)


def write_slow(path: Path, times: int = 50) -> None:
    """Write 0.2 s of 1080p video `times` times; 50 take a few seconds of CPU time to decode."""
    once = path.with_name("once.mp4")
    rgb = draw_scenery(1, 1080, 1920)
    write_video(once, [np.roll(rgb, 4 * index, axis=1) for index in range(5)], 25)
    repeat(once, path, times)


def write_360p(path: Path) -> None:
    rgb = draw_scenery(1, 360, 640)
    write_video(path, [np.roll(rgb, 4 * index, axis=1) for index in range(30)], 25)


def write_4k(path: Path) -> None:
    write_video(path, [np.full((2160, 3840, 3), 90, np.uint8)] * 3, 25)


def write_long(path: Path, length_s: int) -> None:
    """Write 12 small frames spread over this time."""
    faces = draw_scene(1, 12, height=96, width=128, face_px=60)
    write_video(path, [face.rgb for face in faces], Fraction(12, length_s))


def readers(parent: int | None = None) -> list[psutil.Process]:
    """Children of a process (None: this one) that read whole videos, not just their length."""
    found = []
    for child in psutil.Process(parent).children():
        try:
            command = child.cmdline()
        except psutil.Error:
            continue
        if CHILD in command and '"sampling": null' not in command[-1]:
            found.append(child)
    return found
