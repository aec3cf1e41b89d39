"""pipeline.splits.groups: balanced, reproducible, held-out sources in test only."""

import random
import shutil
from pathlib import Path

import pytest

from pipeline.core.labels import SPLITS
from pipeline.core.manifest import CropRow, SplitRow, read_rows, write_rows
from pipeline.runtime.errors import SplitError
from tests.support.imports import ROOT
from tests.support.manifest_rows import crop_rows
from tests.support.split_rows import PARAMS, divided_rows, groups_of, holding_out, row, split_of
from tests.support.stage_runs import run_stage


@pytest.mark.parametrize("people", [12, 28, 60])
@pytest.mark.parametrize("fractions", [(0.22, 0.22), (0.1, 0.3)])
def test_fractions_are_near(people: int, fractions: tuple[float, float]) -> None:
    rng = random.Random(people)
    rows = [
        row(f"p{i:02d}", fake=fake)
        for i in range(people)
        for fake in ("", "inswapper", *(["uniface"] if i % 3 == 0 else []))
        for _ in range(rng.randint(3, 9))
    ]
    changes = {"seed": 1, "val_frac": fractions[0], "test_frac": fractions[1]}
    params = PARAMS.model_copy(update=changes)
    divided = divided_rows(rows, params)
    for kind in ("real", "inswapper", "uniface"):
        total = sum(r.fake_type == kind for r in rows)
        for name, fraction in zip(("val", "test"), fractions, strict=True):
            share = sum(r.fake_type == kind for r in divided[name]) / total
            assert share == pytest.approx(fraction, abs=1.2 / people + 0.05)


def test_the_seed_chooses_between_equal_divisions() -> None:
    rows = crop_rows(12, frames=1, scales=(1.5,))
    divisions = {
        tuple(sorted(split_of(divided_rows(rows, PARAMS.model_copy(update={"seed": s}))).items()))
        for s in (1, 1, 2, 3)
    }
    assert 2 <= len(divisions) <= 3


def test_swaps_between_all_people_can_be_divided_without_their_links() -> None:
    """As in Celeb-DF, everybody lends a face to the next person."""
    names = [f"id{number}" for number in range(9)]
    rows = [row(name) for name in names]
    rows += [
        row(
            name,
            fake="inswapper",
            video=f"swap of {name}",
            original=f"video of {name}",
            donor=donor,
        )
        for name, donor in zip(names, names[1:] + names[:1], strict=True)
    ]
    assert len(set(groups_of(rows).values())) == 1
    with pytest.raises(SplitError, match=r"split_groups\.link_sources to false"):
        divided_rows(rows, PARAMS)
    loose = PARAMS.model_copy(update={"link_sources": False})
    divided = divided_rows(rows, loose)
    assert all(len(part) == 2 * len({r.group for r in part}) for part in divided.values())
    assert len(split_of(divided)) == 9


def pairs(source: str, people: int, fake: str = "pseudo") -> list[CropRow]:
    """A real and a fake crop per person of a source."""
    names = [f"{source}{number:02d}" for number in range(people)]
    return [row(name, fake=kind, source=source) for name in names for kind in ("", fake)]


def test_held_out_sources_go_to_test_and_do_not_count_for_the_fractions() -> None:
    rows = [*pairs("a", 50), *pairs("b", 50), *pairs("c", 7)]
    divided = divided_rows(rows, holding_out("c"))
    assert {r.source for r in divided["train"] + divided["val"]} == {"a", "b"}
    others = [r for r in divided["test"] if r.source != "c"]
    assert len(divided["test"]) - len(others) == 14
    assert [len(divided["val"]), len(others)] == [44, 44]


def test_a_group_of_held_out_and_other_sources_goes_to_test_as_a_whole() -> None:
    mixed = row("c00", video="shared", source="a"), row("a99", video="shared", source="a")
    divided = divided_rows([*pairs("a", 20), *pairs("c", 1), *mixed], holding_out("c"))
    assert {r.identity_id for r in divided["test"] if r.group == "a99"} == {"a99", "c00"}
    assert all(r.group != "a99" for r in divided["train"] + divided["val"])


def test_a_class_of_held_out_sources_only_is_required_in_test_only() -> None:
    divided = divided_rows([*pairs("a", 20), *pairs("c", 3, "inswapper")], holding_out("c"))
    assert sum(r.is_inswapper for r in divided["test"]) == 3


def test_held_out_sources_can_supply_the_test_split() -> None:
    """Two other people are enough if the held-out sources supply test."""
    divided = divided_rows([*pairs("a", 2), *pairs("c", 3)], holding_out("c"))
    assert {name: len({r.group for r in rows}) for name, rows in divided.items()} == {
        "train": 1,
        "val": 1,
        "test": 3,
    }


def test_an_unknown_source_is_named() -> None:
    with pytest.raises(SplitError) as raised:
        divided_rows([*pairs("b", 9), *pairs("a", 9)], holding_out("a", "ffhq", "d"))
    assert str(raised.value) == (
        "split_groups.test_sources: no crop is of source d, ffhq; available sources: a, b"
    )


def test_no_groups_remain_for_training() -> None:
    with pytest.raises(SplitError, match="no groups remain for training"):
        divided_rows(pairs("a", 9), holding_out("a"))


def test_a_chain_of_swaps_is_one_group() -> None:
    rows = [
        row("c", fake="inswapper", donor="b"),
        row("b", fake="inswapper", donor="z"),
        row("d", video="v", fake="uniface", original="video of c"),
        row("e", video="v"),
        row("a"),
    ]
    assert groups_of(rows) == {"a": "a", "b": "b", "c": "b", "d": "b", "e": "b"}


def test_a_person_and_a_video_may_have_the_same_name() -> None:
    rows = [row("x", video="y"), row("y", video="x")]
    assert groups_of(rows) == {"x": "x", "y": "y"}


def test_missing_classes_are_reported() -> None:
    rows = [row("a"), row("b"), row("c"), row("a", fake="inswapper"), row("b", fake="uniface")]
    with pytest.raises(SplitError) as raised:
        divided_rows(rows, PARAMS)
    first, second, third = str(raised.value).splitlines()
    assert "would have no fake crops" in first
    assert "would have no inswapper crops" in first
    assert "at least 3 groups" in second
    assert third == (
        "Groups: a: 1 fake, 1 inswapper, 1 real; b: 1 fake, 1 real, 1 uniface; c: 1 real"
    )


@pytest.mark.parametrize("fake", ["", "uniface"])
def test_one_label_only(fake: str) -> None:
    missing = "real" if fake else "fake"
    with pytest.raises(SplitError, match=f"train would have no {missing} crops; val would have no"):
        divided_rows([row(f"p{i}", fake=fake) for i in range(9)], PARAMS)


def test_no_crops() -> None:
    with pytest.raises(SplitError, match="there are no crops to split"):
        divided_rows([], PARAMS)


def test_many_groups_are_not_all_listed() -> None:
    with pytest.raises(SplitError) as raised:
        divided_rows([row(f"p{i:02d}") for i in range(30)], PARAMS)
    assert str(raised.value).endswith("p11: 1 real; and 18 more")


def test_the_stage(tmp_path: Path) -> None:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    rows = crop_rows(6, frames=2)
    write_rows(tmp_path / "data/manifests/crops.csv", rows, CropRow)
    outputs = []
    for _ in range(2):
        done = run_stage(tmp_path, "split_groups")
        assert (done.returncode, done.stderr) == (0, "")
        assert [line.split()[1] for line in done.stdout.splitlines()] == list(SPLITS)
        outputs.append([(tmp_path / f"data/splits/{n}.csv").read_bytes() for n in SPLITS])
    assert outputs[0] == outputs[1]
    read = [r for n in SPLITS for r in read_rows(tmp_path / f"data/splits/{n}.csv", SplitRow)]
    assert len(read) == len(rows)
    assert all(r.group == r.identity_id for r in read)


@pytest.mark.parametrize("seed", range(6))
def test_the_best_of_several_divisions_is_kept(seed: int) -> None:
    """Nine people, equally large, with other kinds of fakes: one order in two finds the balance."""
    inswapper = [2, 5, 7, 7, 7, 1, 3, 1, 4]
    rows = [
        row(f"p{person}", fake=fake)
        for person, count in enumerate(inswapper)
        for fake, crops in (("", 4), ("inswapper", count), ("uniface", 8 - count))
        for _ in range(crops)
    ]
    divided = divided_rows(rows, PARAMS.model_copy(update={"seed": seed}))
    for name in ("val", "test"):
        kinds = [r.fake_type for r in divided[name]]
        assert [kinds.count(kind) for kind in ("real", "inswapper", "uniface")] == [8, 8, 8]
