"""tests.scale: the queue against theory, the arithmetic of costs, and where each number is from."""

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from pipeline.core.files import to_json
from pipeline.runtime.errors import PipelineError
from tests.imports import ROOT
from tests.scale import serving
from tests.scale.assumptions import Assumptions
from tests.scale.measured import LOADER, NETWORK, PICTURES, STEP, VIDEO, Measured, read_measured
from tests.scale.plan import Plan
from tests.scale.queueing import Dispatch, Load, poisson_load, simulate
from tests.scale.rows import Kind, Row
from tests.scale.serving import QUEUE_LENGTH, needed_replicas, replica_rows, service_times

REPORT = json.loads((ROOT / "metrics/scale.json").read_text(encoding="utf-8"))
KINDS = get_args(Kind)
REQUESTS = 200_000
ENDLESS = 10**9
SMALL = {
    "storage": {
        "crops_per_face": 2.0,
        "zarr_bytes_per_crop": 100_000.0,
        "zarr_files_per_crop": 0.01,
        "png_bytes_per_crop": 50_000.0,
        "png_files_per_crop": 1.5,
        "frame_files": 2.0,
    },
    "preparation": {
        "frames_per_s": 0.5,
        "extract_s_per_s": 0.2,
        "crop_s_per_frame": 0.4,
        "frame_bytes": 1_000_000.0,
    },
    "manifest": {
        "bytes_per_row": 400.0,
        "read_s_per_row": 1e-4,
        "peak_bytes_per_row": 5000.0,
        "table_bytes_per_row": 600.0,
    },
    "pack": {"s_per_crop": 0.01},
    "dvc": {"add_s_per_file": 0.001, "status_s_per_file": 0.0001},
    "picture": {
        "decode_of_verdict": 0.1,
        "detect_of_verdict": 0.5,
        "stills_of_mean": [0.5, 1.0, 1.5],
    },
}
FOUND = Measured(
    cores=2,
    pictures_s=20.0,
    video_s_s=5.0,
    network_s=100.0,
    loader_s=200.0,
    step_s=10.0,
    peak_hz=10.0,
    growth={},
    small=SMALL,
)


def exponential(rate_hz: float, mean_s: float) -> Load:
    arrivals_s = poisson_load(rate_hz, np.ones(1), REQUESTS, seed=2).arrivals_s
    return Load(arrivals_s, np.random.default_rng(3).exponential(mean_s, REQUESTS))


@pytest.mark.parametrize("rate_hz", [0.3, 0.7])
def test_one_queue_waits_as_theory_says(rate_hz: float) -> None:
    """M/M/1 and M/D/1 with a service time of 1 s on average (Pollaczek-Khinchine)."""
    found = simulate(exponential(rate_hz, 1.0), 1, ENDLESS, "shortest")
    assert found.latencies_s.mean() == pytest.approx(1 / (1 - rate_hz), rel=0.04)
    assert found.refused_frac == 0
    fixed = simulate(poisson_load(rate_hz, np.ones(1), REQUESTS, seed=4), 1, ENDLESS, "random")
    waits_s = rate_hz / (2 * (1 - rate_hz))
    assert fixed.latencies_s.mean() == pytest.approx(1 + waits_s, rel=0.02)


def test_a_full_queue_refuses_as_theory_says() -> None:
    """M/M/1/K at 1.2 times the capacity."""
    rho, places = 1.2, 4
    refused = (1 - rho) * rho**places / (1 - rho ** (places + 1))
    found = simulate(exponential(rho, 1.0), 1, places, "shortest")
    assert found.refused_frac == pytest.approx(refused, rel=0.02)


def test_a_random_replica_is_a_queue_of_its_own_and_the_least_busy_one_better() -> None:
    load = exponential(4 * 0.7, 1.0)
    spread = simulate(load, 4, ENDLESS, "random").latencies_s.mean()
    assert spread == pytest.approx(1 / (1 - 0.7), rel=0.04)
    assert 1 < simulate(load, 4, ENDLESS, "shortest").latencies_s.mean() < 0.7 * spread


@pytest.mark.parametrize("dispatch", ["random", "shortest"])
def test_more_replicas_answer_sooner_and_refuse_less(dispatch: Dispatch) -> None:
    load = poisson_load(50, service_times(FOUND), 20_000, seed=5)
    found = [simulate(load, count, QUEUE_LENGTH, dispatch) for count in (4, 5, 6, 8, 12)]
    waits = [outcome.percentile_ms(99) for outcome in found]
    refused = [outcome.refused_frac for outcome in found]
    assert waits == sorted(waits, reverse=True)
    assert refused == sorted(refused, reverse=True)
    assert refused[0] > 0.1
    assert refused[-1] == 0


@pytest.mark.parametrize("dispatch", ["random", "shortest"])
def test_the_fewest_replicas_that_do(dispatch: Dispatch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "REQUESTS", 10_000)
    given = Assumptions(requests_s=100, p99_ms=400)
    needed = needed_replicas(FOUND, given, dispatch)
    load = poisson_load(100, service_times(FOUND), 10_000, serving.SEED)
    found = [
        simulate(load, count, QUEUE_LENGTH, dispatch, serving.SEED).percentile_ms(99)
        for count in (needed - 1, needed)
    ]
    assert found[1] <= 400 < found[0]
    with pytest.raises(PipelineError, match=r"--p99-ms: .* within 140 ms; .* takes 149 ms"):
        needed_replicas(FOUND, replace(given, p99_ms=140), dispatch)


def test_service_times_have_the_measured_mean_and_spread() -> None:
    times_s = service_times(FOUND)
    assert times_s.mean() == pytest.approx(0.1)
    assert (times_s.min(), times_s.max()) == pytest.approx((0.05, 0.15), abs=1e-3)


def test_costs_by_hand() -> None:
    given = Assumptions(core_hour_usd=0.1, gpu_hour_usd=3, gpu_cores=50, gpu_training_cores=100)
    rows = {row.what: row for row in Plan(FOUND, given).rows()}
    assert {name: rows[name].value for name in BY_HAND} == pytest.approx(BY_HAND)


BY_HAND = {
    # 10^6 / 20 a second = 50,000 s on 2 cores at 0.1 USD; a GPU does it in 1/50 of the core hours.
    "a million pictures": 100_000 / 3600 * 0.1,
    "a million pictures on a GPU": 100_000 / 3600 / 50 * 3,
    # 1,000 h at 5 s a second are 200 h on 2 cores.
    "1,000 hours of video": 40.0,
    "cores that a GPU must replace to pay": 30.0,
    # The network is 20/100 of the time, faces are half of it.
    "with a GPU for the network, at most": 1.25,
    "with a GPU for faces and network, at most": 1 / 0.3,
    # 500,000 frames; a video of 60 s has 30 of them and 30 MB.
    "a million crops in Zarr": 100.0,
    "their frames, 720p PNG": 500.0,
    "their videos": 500.0,
    "all four for a month": 1150 * 0.023,
    "their frames and crops as files": 2_500_000.0,
    "uploading these once": 12.5,
    "a video to frames": 12.0,
    "its frames to crops": 12.0,
    "100,000 videos to crops": 100_000 * 24 / 3600,
    "packing a million crops": 10_000 / 3600,
    "largest manifest of a machine": 12.8,
    # 3 x 10^7 crops at 5 images a second and core.
    "30 epochs of 1,000,000 crops": 6_000_000 / 3600,
    "the run on a GPU": 60_000 / 3600,
    # 500 images a second, of which a core gives 100.
    "cores that feed such a GPU": 5.0,
}


def test_what_is_divided_by_machines_and_what_is_not() -> None:
    one, ten, _, thousand = Plan(FOUND, Assumptions()).machine_rows()
    assert one.hours["extract"] == pytest.approx(100_000 * 12 / 16 / 3600)
    for part in ("extract", "crop"):
        assert thousand.hours[part] == pytest.approx(one.hours[part] / 1000)
    for part in ("dvc", "manifests", "packing"):
        assert thousand.hours[part] == one.hours[part] > 0
    # 100,000 x 30 frames of 2 files, and as many pairs of crops of 1.5 files.
    assert thousand.hours["store"] == pytest.approx(15_000_000 / 3500 / 3600)
    assert ten.elapsed_h == pytest.approx(sum(ten.hours.values()))
    assert ten.hours[ten.longest[0]] == max(ten.hours.values())


def test_growth_is_told_where_it_was_measured() -> None:
    runs = {"items": [10.0, 100.0, 300.0], "seconds": [9.0, 10.0, 14.0]}
    rows = Plan(replace(FOUND, growth={"crop_faces": runs}), Assumptions()).rows()
    (row,) = [row for row in rows if row.what.startswith("`crop_faces`")]
    assert (row.value, row.kind) == (pytest.approx(20), "computed")


def test_every_number_has_a_kind_and_a_name_of_its_own() -> None:
    rows = [Row(**row) for row in REPORT["rows"]]
    assert {row.kind for row in rows} == set(KINDS)
    assert all(row.how and math.isfinite(row.value) for row in rows)
    assert len({row.what for row in rows}) == len(rows)
    assert all(row["kind"] in KINDS for row in [*REPORT["replicas"], *REPORT["machines"]])


def test_nothing_of_a_gpu_is_sold_as_measured() -> None:
    prices_alone = {"cores that a GPU must replace to pay"}
    bounds = {row["what"] for row in REPORT["rows"] if row["what"].endswith("at most")}
    for row in REPORT["rows"]:
        if "GPU" in row["what"] + row["how"] and row["what"] not in prices_alone | bounds:
            assert row["kind"] == "assumed", row["what"]


def test_the_report_follows_from_the_reports_it_names() -> None:
    found = replace(read_measured(ROOT / "metrics"), small=REPORT["small"])
    given = Assumptions(**REPORT["assumptions"])
    plan = json.loads(to_json([vars(row) for row in Plan(found, given).rows()]))
    assert REPORT["rows"][: len(plan)] == plan, "run `make scale`"
    machines = [vars(row) for row in Plan(found, given).machine_rows()]
    assert REPORT["machines"] == json.loads(to_json(machines))


@pytest.mark.slow
def test_the_simulation_gives_the_report_again() -> None:
    found = replace(read_measured(ROOT / "metrics"), small=REPORT["small"])
    rows = replica_rows(found, Assumptions(**REPORT["assumptions"]))
    for row, reported in zip(rows, REPORT["replicas"], strict=True):
        answers = {way: vars(answer) for way, answer in row.answers.items()}
        assert reported == json.loads(to_json({**vars(row), "answers": answers}))


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        (None, "bench.json: not found; run `make bench` first"),
        ([], "'picture to verdict, 1024-px JPEG' in pictures/s was not measured; run `make bench`"),
    ],
)
def test_what_was_not_measured_is_named(tmp_path: Path, rows: list | None, line: str) -> None:
    if rows is not None:
        write_reports(tmp_path, rows)
    with pytest.raises(PipelineError) as caught:
        read_measured(tmp_path)
    assert str(caught.value).endswith(line)


def test_made_up_reports_are_read(tmp_path: Path) -> None:
    values = {PICTURES: 20.0, VIDEO: 5.0, NETWORK: 100.0, LOADER: 200.0, STEP: 10.0}
    ours = {"least": 0.0, "greatest": 0.0}
    rows = [
        {"work": work, "unit": unit, "ours": {**ours, "median": value}}
        for (work, unit), value in values.items()
    ]
    write_reports(tmp_path, rows)
    assert replace(read_measured(tmp_path), small=SMALL) == FOUND


def write_reports(folder: Path, rows: list[dict[str, Any]]) -> None:
    machine = {"cores": 2}
    for name, report in (
        ("bench.json", {"machine": machine, "rows": rows}),
        ("bench_serve.json", {"machine": machine, "overload": {"peak_hz": 10.0}}),
    ):
        (folder / name).write_text(json.dumps(report), encoding="utf-8")


def test_one_line_and_no_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.scale", "--keep"]
    environment = {"PYTHONPATH": str(ROOT), "PATH": ""}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "metrics/bench.json: not found; run `make bench` first\n"
    with pytest.raises(PipelineError, match="--video-s: expected more than 0, got -1"):
        Assumptions(video_s=-1)
