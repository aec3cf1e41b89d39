"""serve.detector.cores on a drawn cgroup tree."""

import os
from pathlib import Path

import pytest

from serve.detector import cores


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "self_cgroup"
    path.write_text("0::/\n")
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "cgroup"
    path.mkdir()
    return path


def test_no_cgroup_means_no_quota(tmp_path: Path) -> None:
    assert cores.quota_cores(tmp_path / "absent", tmp_path / "nothing") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("max 100000\n", None),
        ("200000 100000\n", 2.0),
        ("150000 100000\n", 1.5),
        ("50000\n", 0.5),
        ("nonsense\n", None),
        ("100000 0\n", None),
        ("", None),
    ],
)
def test_quota_v2(root: Path, own: Path, text: str, expected: float | None) -> None:
    (root / "cpu.max").write_text(text)
    assert cores.quota_cores(root, own) == expected


@pytest.mark.parametrize(("quota", "expected"), [("-1", None), ("300000", 3.0)])
def test_quota_v1(root: Path, own: Path, quota: str, expected: float | None) -> None:
    (root / "cpu").mkdir()
    (root / "cpu/cpu.cfs_quota_us").write_text(quota)
    (root / "cpu/cpu.cfs_period_us").write_text("100000")
    assert cores.quota_cores(root, own) == expected


def test_tightest_parent_group_counts(root: Path, own: Path) -> None:
    own.write_text("0::/pod/container\n")
    inner = root / "pod/container"
    inner.mkdir(parents=True)
    (inner / "cpu.max").write_text("max 100000")
    (root / "pod/cpu.max").write_text("250000 100000")
    (root / "cpu.max").write_text("800000 100000")
    assert cores.quota_cores(root, own) == 2.5


def test_other_controllers_are_not_cpu(root: Path, own: Path) -> None:
    own.write_text("5:memory:/tight\n4:cpu,cpuacct:/loose\n")
    for name, quota in (("tight", "100000"), ("loose", "400000")):
        folder = root / "cpu" / name
        folder.mkdir(parents=True)
        (folder / "cpu.cfs_quota_us").write_text(quota)
        (folder / "cpu.cfs_period_us").write_text("100000")
    assert cores.quota_cores(root, own) == 4.0


def test_group_cannot_climb_out_of_the_mount(root: Path, own: Path) -> None:
    own.write_text("0::/../outside\n")
    outside = root.parent / "outside"
    outside.mkdir()
    (outside / "cpu.max").write_text("100000 100000")
    assert cores.quota_cores(root, own) is None


def test_usable_cores_is_the_smaller_of_affinity_and_quota(root: Path, own: Path) -> None:
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    (root / "cpu.max").write_text("6400000 100000")
    assert cores.usable_cores(root, own) == affinity
    (root / "cpu.max").write_text("170000 100000")
    assert cores.usable_cores(root, own) == 1
    (root / "cpu.max").write_text("20000 100000")
    assert cores.usable_cores(root, own) == 1
