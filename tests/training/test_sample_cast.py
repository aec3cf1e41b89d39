"""pipeline.training.sample.cast and roles: the people of the sample and their source faces."""

import pytest

from pipeline.runtime.params import load_params
from pipeline.training.sample.cast import CAST
from pipeline.training.sample.roles import assign_roles

PARAMS = load_params().build_sample


def test_the_cast_has_at_least_24_people_each_named_once() -> None:
    names = [person.identity_id for person in CAST.people]
    assert len(names) == len(set(names)) >= 24
    assert all("_" not in name for name in names), "a clip's name is target_source"
    filmed = {person.identity_id for person in CAST.people if not person.stills_only}
    assert filmed >= {name for link in CAST.links for name in link}
    assert all(person.photos or person.footage for person in CAST.people)


def test_no_part_of_a_photo_is_shown_as_two_people() -> None:
    faces = {}
    for person in CAST.people:
        for photo in person.photos:
            faces.setdefault(photo.origin, []).append(photo.region_xyxy)
    for regions in faces.values():
        assert len(set(regions)) == len(regions)
        assert len(regions) == 1 or all(regions)


def test_roles_follow_the_parameters() -> None:
    roles = assign_roles(CAST, PARAMS)
    filmed = [role for role in roles if not role.person.stills_only]
    swapped = [role for role in filmed if role.source is not None]
    assert len(swapped) == round(PARAMS.cross_identity_frac * len(filmed))
    assert all(role.source != role.person for role in swapped)
    frac = sum(role.has_uniface for role in roles) / len(roles)
    assert frac == pytest.approx(PARAMS.uniface_frac, abs=1 / len(roles))
    assert [role.index for role in roles] == list(range(len(roles)))


@pytest.mark.parametrize("people", [6, 12])
def test_links_to_people_who_are_left_out_are_dropped(people: int) -> None:
    few = PARAMS.model_copy(update={"max_people": people, "cross_identity_frac": 1.0})
    roles = assign_roles(CAST, few)
    known = {role.person.identity_id for role in roles}
    assert len(known) == people
    assert {role.source_id for role in roles} - {""} <= known
