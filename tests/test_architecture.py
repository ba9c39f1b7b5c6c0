"""Architectures as data: round trips, what is refused and how it is said, one fingerprint."""

import json
import subprocess
import sys
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nni_evanet import Architecture
from nni_evanet.architecture import ArchitectureError, Module, ResNetStem, Stream
from nni_evanet.space import SearchSpace

architectures = st.integers(0, 2**32).map(lambda seed: Architecture.random("resnet", Random(seed)))

STEM = ResNetStem("conv3d", 3, 1, 1, 9)
PLAIN = Module(1, (Stream("conv1x1x1"),))


def architecture_of(*streams: Stream, repeats: int = 1, alternate_repeats: bool = True):
    modules = (Module(repeats, streams), PLAIN, PLAIN, PLAIN)
    return Architecture("resnet", STEM, modules, alternate_repeats)


@given(architectures)
def test_json_and_sample_round_trips_keep_everything(architecture):
    assert Architecture.from_json(architecture.to_json()) == architecture
    assert Architecture.from_json(json.loads(architecture.to_json())) == architecture
    assert Architecture.from_sample(architecture.to_sample()) == architecture
    one_more = replace(architecture, alternate_repeats=False)
    assert Architecture.from_json(one_more.to_json()) == one_more
    assert Architecture.from_sample(one_more.to_sample()) == one_more


@given(architectures)
def test_sample_holds_only_labels_and_values_of_the_space(architecture):
    choices = SearchSpace("resnet").choices()
    assert all(value in choices[label] for label, value in architecture.to_sample().items())


def test_the_space_has_every_decision_of_the_paper():
    choices = SearchSpace("resnet").choices()
    # A slot: type, two ops, two times, the pool's time. A module: six slots, repeats, streams.
    assert len(choices) == 5 + 4 * (2 + 6 * 6)
    assert choices["module4/stream6/conv2/op"] == ("conv3d", "conv2plus1d", "itgm")
    assert choices["stem/pool4/time"] == (1, 3, 5, 7, 9, 11)


def test_random_draws_every_decision_uniformly():
    rng = Random(0)
    drawn = [Architecture.random("resnet", rng) for _ in range(3000)]
    for values, expected in [
        ([len(a.modules[1].streams) for a in drawn], 6),
        ([a.modules[2].repeats for a in drawn], 6),
        ([a.modules[0].streams[0].type for a in drawn], 4),
        ([a.stem.conv_op for a in drawn], 3),
        ([a.stem.pool4_time for a in drawn], 6),
    ]:
        counts = [values.count(value) for value in set(values)]
        assert len(counts) == expected
        # Five standard deviations of a binomial count.
        p = 1 / expected
        slack = 5 * (3000 * p * (1 - p)) ** 0.5
        assert all(abs(count - 3000 * p) < slack for count in counts)


@given(architectures, st.randoms())
def test_the_fingerprint_ignores_the_order_of_streams_and_nothing_else_does(architecture, rng):
    shuffled = replace(
        architecture,
        modules=tuple(
            replace(m, streams=tuple(rng.sample(m.streams, len(m.streams))))
            for m in architecture.modules
        ),
    )
    assert shuffled.fingerprint == architecture.fingerprint
    assert Architecture.from_json(shuffled.to_json()).modules == shuffled.modules


def test_equal_functions_share_a_fingerprint_and_different_ones_do_not():
    def fingerprint(op, time, **rest):
        return architecture_of(Stream("conv", op, time), **rest).fingerprint

    assert fingerprint("itgm", 1) == fingerprint("conv3d", 1)
    assert fingerprint("itgm", 1) != fingerprint("conv2plus1d", 1)
    assert fingerprint("itgm", 3) != fingerprint("conv3d", 3)
    # Alternation drops temporal sizes in a second repeat: without one, or with nothing to drop,
    # it changes nothing.
    for op, time, repeats, same in [
        ("conv3d", 3, 1, True),
        ("conv3d", 1, 2, True),
        ("conv3d", 3, 2, False),
    ]:
        on = fingerprint(op, time, repeats=repeats)
        off = fingerprint(op, time, repeats=repeats, alternate_repeats=False)
        assert (on == off) is same


def test_the_stem_shares_the_rule_for_temporal_size_one():
    a = replace(architecture_of(Stream("conv1x1x1")), stem=ResNetStem("itgm", 1, 1, 1, 1))
    b = replace(a, stem=ResNetStem("conv3d", 1, 1, 1, 1))
    assert a.fingerprint == b.fingerprint


def test_fingerprints_are_the_same_in_another_process():
    code = (
        "from random import Random; from nni_evanet import Architecture;"
        "print(Architecture.random('resnet', Random(5)).fingerprint)"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert output.stdout.strip() == Architecture.random("resnet", Random(5)).fingerprint


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("meta",), "vgg", "meta: 'vgg' is not one of resnet"),
        (("stem", "conv_op"), "conv4d", "stem.conv_op: 'conv4d' is not one of conv3d, conv2plus1d"),
        (("stem", "pool3_time"), 2, "stem.pool3_time: 2 is not one of 1, 3, 5, 7, 9, 11"),
        (("modules", 2, "repeats"), 7, "modules[2].repeats: 7 is not one of 1, 2, 3, 4, 5, 6"),
        (("modules", 2, "repeats"), True, "modules[2].repeats: True is not one of"),
        (("modules", 0, "streams"), [], "modules[0].streams: length: 0 is not one of 1, 2"),
        (("modules", 0, "streams"), {}, "modules[0].streams: {} is not a list"),
        (("modules", 2, "streams", 0, "type"), "lstm", "modules[2].streams[0].type: 'lstm'"),
        (
            ("modules", 2, "streams", 0, "time"),
            4,
            "modules[2].streams[0].time: 4 is not one of 1, 3, 5, 7, 9, 11",
        ),
        (("modules", 2, "streams", 0, "time"), 3.0, "modules[2].streams[0].time: 3.0 is not"),
        (("modules", 2, "streams", 0, "op2"), "itgm", "modules[2].streams[0].op2: 'itgm' given"),
        (("modules", 2, "streams", 0, "width"), 1, "modules[2].streams[0].width: no such field"),
        (("modules",), [], "modules: 0 given, a resnet architecture has 1 to 4"),
        (("dna",), "CAM", "dna: no such field"),
        (("alternate_repeats",), 1, "alternate_repeats: 1 is not one of True, False"),
    ],
)
def test_invalid_json_is_refused_with_its_place_and_what_is_allowed(path, value, message):
    modules = (PLAIN, PLAIN, Module(2, (Stream("conv", "itgm", 5),)), PLAIN)
    data = json.loads(Architecture("resnet", STEM, modules).to_json())
    target = data
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    with pytest.raises(ArchitectureError) as error:
        Architecture.from_json(data)
    assert str(error.value).startswith(message)


def test_missing_fields_and_broken_text_are_named():
    with pytest.raises(ArchitectureError, match="stem: missing"):
        Architecture.from_json('{"meta": "resnet", "modules": []}')
    with pytest.raises(ArchitectureError, match="not JSON"):
        Architecture.from_json("{")
    with pytest.raises(ArchitectureError, match="is not an object"):
        Architecture.from_json("[]")


def test_a_sample_may_list_its_slots_and_hold_inactive_labels():
    everything = {label: choices[0] for label, choices in SearchSpace("resnet").choices().items()}
    everything |= {"module1/streams": [4, 1], "module1/stream2/type": "pool"}
    everything |= {"module1/stream5/type": "conv", "module1/stream5/conv1/time": 7}
    streams = Architecture.from_sample(everything).modules[0].streams
    assert streams == (Stream("pool", time=1), Stream("conv", "conv3d", 7))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"module1/streams": 0}, "module1/streams: 0 is not one of"),
        ({"module1/streams": []}, r"module1/streams: \[\] is not a list of different slots"),
        ({"module1/streams": [1, 1]}, "module1/streams: .* is not a list of different slots"),
        ({"module1/streams": [6]}, "module1/streams: 6 is not one of 0, 1, 2, 3, 4, 5"),
        ({"stem/conv/time": 4}, "stem/conv/time: 4 is not one of 1, 3, 5, 7, 9, 11"),
        ({"learning_rate": 1}, "learning_rate: no such decision"),
    ],
)
def test_invalid_samples_name_the_label(change, message):
    sample = {label: choices[0] for label, choices in SearchSpace("resnet").choices().items()}
    with pytest.raises(ArchitectureError, match=message):
        Architecture.from_sample(sample | change)


def test_an_architecture_needs_the_standard_library_only():
    code = (
        "import sys; import nni_evanet.architecture, nni_evanet.strategies;"
        "print([m for m in ('torch', 'nni', 'numpy') if m in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert output.stdout.strip() == "[]", output.stderr
