"""Search spaces as data: whole, of both meta-architectures, and narrowed."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nni_evanet.architecture import Architecture, ArchitectureError
from nni_evanet.decisions import OPS, REPEATS, STREAM_COUNTS, STREAM_TYPES, TIMES
from nni_evanet.space import SearchSpace
from nni_evanet.strategies.mutations import mutate


def some(values):
    """A nonempty part of the values."""
    return st.sets(st.sampled_from(values), min_size=1).map(tuple)


spaces = st.builds(
    SearchSpace,
    st.sampled_from(["resnet", "inception"]),
    ops=some(OPS),
    times=some(TIMES),
    stream_types=some(STREAM_TYPES),
    stream_counts=some(STREAM_COUNTS),
    repeats=some(REPEATS),
    modules=st.integers(1, 4),
)


@given(spaces, st.integers(0, 2**32))
def test_a_narrowed_space_round_trips_and_mutations_stay_in_it(space, seed):
    rng = Random(seed)
    architecture = space.random(rng)
    for _ in range(10):
        space.check(architecture)
        assert Architecture.from_json(architecture.to_json()) == architecture
        assert Architecture.from_sample(architecture.to_sample(), space.meta) == architecture
        try:
            _, child = mutate(architecture, space, rng)
        except ValueError:
            break  # nothing in the space is open
        assert child.fingerprint != architecture.fingerprint
        architecture = child


@given(spaces)
def test_a_space_is_known_by_its_choices(space):
    again = SearchSpace.from_choices(space.choices())
    assert again.choices() == space.choices()
    assert again.meta == space.meta


def test_the_inception_space_has_the_paper_s_decisions():
    choices = SearchSpace("inception").choices()
    # Op and time of two stem layers, two stem pools; nine modules of six slots, without repeats.
    assert len(choices) == 6 + 9 * (1 + 6 * 6)
    assert not any(label.endswith("repeats") for label in choices)
    architecture = Architecture.random("inception", Random(0))
    assert len(architecture.modules) == 9
    assert "repeats" not in architecture.to_json().replace("alternate_repeats", "")


def test_a_narrowed_space_has_only_labels_that_are_used():
    labels = SearchSpace("resnet", stream_types=("conv1x1x1", "pool"), modules=2).choices()
    assert "module1/stream1/pool/time" in labels and "module1/stream1/conv1/op" not in labels
    assert "stem/pool1/time" in labels and "stem/pool3/time" not in labels
    assert "module3/streams" not in labels


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"meta": "vgg"}, "meta: 'vgg' is not one of resnet, inception"),
        ({"meta": "resnet", "ops": ()}, "ops: none given; choose from conv3d, conv2plus1d, itgm"),
        ({"meta": "resnet", "times": (2,)}, "times: 2 is not one of 1, 3, 5, 7, 9, 11"),
        ({"meta": "resnet", "modules": 5}, "modules: 5 is not one of 1, 2, 3, 4"),
        ({"meta": "inception", "stream_counts": (0,)}, "stream_counts: 0 is not one of"),
    ],
)
def test_what_is_not_of_the_paper_s_space_is_named(arguments, message):
    with pytest.raises(ArchitectureError) as error:
        SearchSpace(**arguments)
    assert str(error.value).startswith(message)


def test_choices_that_are_no_space_are_named():
    choices = dict(SearchSpace("resnet").choices())
    with pytest.raises(ArchitectureError, match="stem/conv/time: 1, 3 given, not 1, 3, 5"):
        SearchSpace.from_choices(choices | {"stem/conv/time": (1, 3)})
    with pytest.raises(ArchitectureError, match="learning_rate: no such decision"):
        SearchSpace.from_choices(choices | {"learning_rate": (1, 3)})
    del choices["module2/stream6/type"]
    with pytest.raises(ArchitectureError, match="module2/stream6/type: missing"):
        SearchSpace.from_choices(choices)


def test_an_architecture_outside_a_narrowed_space_is_named():
    space = SearchSpace("resnet", repeats=(1, 2))
    architecture = space.random(Random(0))
    module = replace(architecture.modules[1], repeats=6)
    outside = replace(
        architecture, modules=(architecture.modules[0], module, *architecture.modules[2:])
    )
    with pytest.raises(ArchitectureError, match="module2/repeats: 6 is not one of 1, 2"):
        space.check(outside)


def test_ops_are_replaced_everywhere_and_only_itgm_is_stretched():
    architecture = Architecture.random("inception", Random(3))
    replaced = architecture.with_ops(itgm="conv2plus1d")
    assert "itgm" in architecture.to_json() and "itgm" not in replaced.to_json()
    assert replaced.to_json() == architecture.to_json().replace("itgm", "conv2plus1d")
    before, after = architecture.to_sample(), architecture.stretched(11).to_sample()
    for label, time in before.items():
        op = before.get(label.removesuffix("time") + "op")
        stretches = label.endswith("/time") and op == "itgm" and time != 1
        assert after[label] == (11 if stretches else time)
    with pytest.raises(ArchitectureError, match="time: 4 is not one of"):
        architecture.stretched(4)
    with pytest.raises(ArchitectureError, match="op to replace: 'lstm'"):
        architecture.with_ops(lstm="itgm")
