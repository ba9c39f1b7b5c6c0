"""Every mutation gives a valid, different architecture, and alters exactly what it may."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nni_evanet.architecture import Architecture, Module, ResNetStem, Stream
from nni_evanet.space import SearchSpace
from nni_evanet.strategies.mutations import (
    OPERATORS,
    change_op,
    change_repeats,
    change_streams,
    change_time,
    mutate,
)

seeds = st.integers(0, 2**32)
SPACE = SearchSpace("resnet")


def pair(operator, seed):
    rng = Random(seed)
    parent = Architecture.random("resnet", rng)
    child = operator(parent, SPACE, rng)
    assert child is not None and child.fingerprint != parent.fingerprint
    return parent, child


def changed_labels(parent, child):
    before, after = parent.to_sample(), child.to_sample()
    return [label for label in before | after if before.get(label) != after.get(label)]


@pytest.mark.parametrize(
    ("operator", "suffix"),
    [(change_op, "/op"), (change_time, "/time"), (change_repeats, "/repeats")],
)
@given(seed=seeds)
def test_one_decision_of_the_right_kind_changes(operator, suffix, seed):
    parent, child = pair(operator, seed)
    (label,) = changed_labels(parent, child)
    assert label.endswith(suffix)


@given(seeds)
def test_one_whole_stream_is_added_or_removed(seed):
    parent, child = pair(change_streams, seed)
    differing = [
        (before, after)
        for before, after in zip(parent.modules, child.modules, strict=True)
        if before != after
    ]
    ((before, after),) = differing
    assert before.repeats == after.repeats and parent.stem == child.stem
    assert 1 <= len(after.streams) <= 6
    gone = Counter(before.streams) - Counter(after.streams)
    new = Counter(after.streams) - Counter(before.streams)
    assert (gone.total(), new.total()) in {(1, 0), (0, 1)}


@given(seeds)
def test_a_long_walk_stays_in_the_space(seed):
    rng = Random(seed)
    architecture = Architecture.random("resnet", rng)
    for _ in range(50):
        name, child = mutate(architecture, SPACE, rng)
        assert name in {operator.__name__ for operator in OPERATORS}
        assert child.fingerprint != architecture.fingerprint
        # Construction validates; the round trip shows that nothing is outside the space.
        assert Architecture.from_sample(child.to_sample()) == child
        architecture = child


def test_at_time_one_conv3d_and_itgm_are_never_swapped():
    plain = Module(1, (Stream("conv1x1x1"),))
    for op in ("conv3d", "itgm"):
        stem = ResNetStem(op, 1, 1, 1, 1)
        parent = Architecture("resnet", stem, (plain,) * 4)
        for seed in range(50):
            child = change_op(parent, SPACE, Random(seed))
            assert child is not None and child.stem.conv_op == "conv2plus1d"


def test_every_layer_is_reached_the_stem_and_the_pools_included():
    streams = (Stream("pool", time=3), Stream("conv_conv", "itgm", 3, "conv3d", 5))
    parent = Architecture("resnet", ResNetStem("conv3d", 3, 1, 1, 1), (Module(2, streams),) * 4)
    rng = Random(0)
    reached = {
        label
        for _ in range(1500)
        for operator in (change_op, change_time, change_repeats)
        for label in changed_labels(parent, operator(parent, SPACE, rng))
    }
    assert reached == {
        label for label in parent.to_sample() if not label.endswith(("/type", "/streams"))
    }


def test_the_four_operators_are_drawn_equally_often():
    rng = Random(0)
    parent = Architecture.random("resnet", rng)
    counts = Counter(mutate(parent, SPACE, rng)[0] for _ in range(2000))
    assert len(counts) == 4
    assert all(abs(count - 500) < 100 for count in counts.values())


def test_an_operator_that_cannot_apply_is_not_drawn():
    parent = Architecture.random("resnet", Random(0))

    def never(architecture, space, rng):
        return None

    assert mutate(parent, SPACE, Random(0), (never, change_time))[0] == "change_time"
    with pytest.raises(ValueError, match="no mutation operator"):
        mutate(parent, SPACE, Random(0), (never,))
