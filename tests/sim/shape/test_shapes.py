# SPDX-License-Identifier: Apache-2.0
"""The space of shapes, and steps in it."""

import random
from itertools import islice

from models.network import CONFIGS, get_config
from sim.shape.shapes import SPACE, Shape, neighbours, starts, step


def test_a_known_shape_has_its_letter_and_others_have_none():
    wide = Shape(get_config("a")).replace({"size": 512})
    assert wide.config == get_config("c") and wide == Shape(get_config("c"))
    assert wide.replace({"head": 32}).config.name == "shape"
    assert Shape(get_config("a").replace(name="anything")).config.name == "a"


def test_fields_are_read_and_replaced():
    shape = Shape(get_config("a")).replace({"channels.1": 96, "channels.4": 512, "units.1": 9, "skips": True})
    assert shape.config.channels == (24, 96, 232, 464, 512) and shape.config.units == (4, 9, 4)
    assert [shape[field] for field in ("channels.1", "units.1", "skips", "size")] == [96, 9, True, 256]
    for field, values in SPACE.items():
        for value in values:
            assert shape.replace({field: value})[field] == value


def test_keys_differ_where_shapes_do():
    shape = Shape(get_config("a"))
    others = [shape.replace({field: value}) for field, values in SPACE.items() for value in values]
    assert len({other.key for other in others}) == len(set(others)) > len(SPACE)
    assert shape.key == Shape(get_config("a").replace(name="other")).key


def test_starts_are_the_configurations_and_their_kinds_at_other_sizes():
    found = starts((192, 224, 256))
    assert {shape.config.name for shape in found} >= set(CONFIGS)
    assert len(found) == len(set(found))
    assert {shape.config.size for shape in found} == {192, 256, 512}


def test_neighbours_are_near_and_in_the_space():
    shape = Shape(get_config("f"))
    for other in islice(neighbours(shape, random.Random(1), SPACE), 300):
        changed = [field for field in SPACE if other[field] != shape[field]]
        assert 1 <= len(changed) <= 3 and all(other[field] in SPACE[field] for field in changed)
        assert list(other.config.channels[:4]) == sorted(other.config.channels[:4])


def test_a_value_outside_of_the_space_goes_to_the_nearest():
    assert step(116, (64, 96, 128, 160), random.Random(0)) == 128
    assert {step(96, (64, 96, 128, 160, 192), random.Random(seed)) for seed in range(50)} == {64, 128, 160}
