"""pipeline.training.sample.cast and roles: the people of the sample and their source faces."""

import pytest

from pipeline.runtime.params import load_params
from pipeline.training.sample.cast import CAST
from pipeline.training.sample.roles import assign_roles

PARAMS = load_params().build_sample


SHOWN_AND_DONORS = (*CAST.people, *CAST.donors)


def test_the_cast_has_at_least_20_people_each_named_once() -> None:
    assert len(CAST.people) >= 20
    names = [person.identity_id for person in SHOWN_AND_DONORS]
    assert len(names) == len(set(names))
    assert all("_" not in name for name in names), "a clip's name is target_source"
    assert all(person.photos or person.footage for person in SHOWN_AND_DONORS)


def test_no_part_of_a_photo_is_shown_as_two_people() -> None:
    faces = {}
    for person in SHOWN_AND_DONORS:
        for photo in person.photos:
            faces.setdefault(photo.origin, []).append(photo.region_xyxy)
    for regions in faces.values():
        assert len(set(regions)) == len(regions)
        assert len(regions) == 1 or all(regions)


def test_roles_follow_the_parameters() -> None:
    roles = assign_roles(CAST, PARAMS)
    filmed = [role for role in roles if not role.person.stills_only]
    sources = [role.source for role in filmed if role.source is not None]
    assert len(sources) == int(PARAMS.cross_identity_frac * len(filmed))
    assert len(set(sources)) == len(sources), "a swap must not link two groups"
    assert set(sources) <= set(CAST.donors)
    frac = sum(role.has_uniface for role in roles) / len(roles)
    assert frac == pytest.approx(PARAMS.uniface_frac, abs=1 / len(roles))
    assert [role.index for role in roles] == list(range(len(roles)))


@pytest.mark.parametrize("people", [6, 12])
def test_a_smaller_sample_has_the_first_people_and_only_as_many_swaps_as_donors(
    people: int,
) -> None:
    few = PARAMS.model_copy(update={"max_people": people, "cross_identity_frac": 1.0})
    roles = assign_roles(CAST, few)
    assert [role.person for role in roles] == list(CAST.people[:people])
    assert sum(role.source is not None for role in roles) == min(people, len(CAST.donors))
