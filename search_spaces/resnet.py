"""The ResNet-like search space (paper, section 4.1) in NNI's primitives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import nni
from nni.mutable import Sample, SampleValidationError, label_scope
from nni.nas.nn.pytorch import (
    LayerChoice,
    ModelSpace,
    MutableModule,
    ParametrizedModule,
    Repeat,
)
from nni.nas.space import model_context
from torch import Tensor, nn

from nni_evanet.architecture import Architecture
from nni_evanet.decisions import METAS, OPS, REPEATS, STREAM_COUNTS, TIMES
from nni_evanet.networks import build_network
from nni_evanet.search_spaces.samples import architecture_of, sample_of
from nni_evanet.search_spaces.subset import SomeInputs


class ResNetSpace(ModelSpace):
    """Every decision of the ResNet-like meta-architecture, for NNI's strategies and ours.

    The labels are those of `nni_evanet.search_spaces.json_space("resnet")`. Only
    `moduleN/streams` differs: a list of active slots, counted from 0.

    The space is a declaration: its candidates are stand-ins without parameters, since a layer's
    width depends on how many streams are active, and it has no forward pass. `freeze`, and NNI's
    `executable_model`, give the sampled network, in which only the chosen layers exist:
    (B, `in_channels`, T, H, W) to (B, `num_classes`), T >= 1, H and W >= 16.

    Args:
        num_classes: logits of the network.
        in_channels: channels of a clip.
        width: filters of the stem; the modules have 4, 8, 16 and 32 times as many.
        dropout: probability before the classifier.
    """

    def __init__(
        self, num_classes: int, *, in_channels: int = 3, width: int = 64, dropout: float = 0.5
    ) -> None:
        # NNI records the arguments, for the networks; the decisions do not depend on them.
        super().__init__()
        with label_scope("stem"):
            self.stem = nn.ModuleList(
                [_conv("conv"), _pool("pool1"), _pool("pool3"), _pool("pool4")]
            )
        names = [f"module{m}" for m in range(1, METAS["resnet"].modules + 1)]
        self.stages = nn.ModuleDict({name: _stage(name) for name in names})

    @classmethod
    def create_fixed_module(
        cls, sample: Mapping[str, Any], num_classes: int, **options: Any
    ) -> nn.Module:
        """What NNI calls in place of the constructor where `current_model()` has a sample.

        So it does in every trial: what was not sampled is not even declared there. The result is
        the plain network of `nni_evanet.build_network`.
        """
        return build_network(architecture_of(sample), num_classes=num_classes, **options)

    def freeze(self, sample: Sample) -> nn.Module:
        """The network of a sample, in which inactive decisions may be missing.

        Raises:
            nni.mutable.SampleValidationError: a value is missing or outside the space.
        """
        self.validate(sample)
        with model_context(sample):
            return type(self)(*self.trace_args, **self.trace_kwargs)

    def forward(self, clips: Tensor) -> Tensor:
        raise RuntimeError("a ResNetSpace only declares choices: freeze a sample to get a network")

    @staticmethod
    def architecture_of(sample: Mapping[str, Any]) -> Architecture:
        """See `nni_evanet.search_spaces.architecture_of`."""
        return architecture_of(sample)

    @staticmethod
    def sample_of(architecture: Architecture) -> dict[str, Any]:
        """See `nni_evanet.search_spaces.sample_of`."""
        return sample_of(architecture)


class Timed(ParametrizedModule):
    """Stands for a layer whose temporal size is a mutable.

    A parameter, because a `LayerChoice` can name its candidates only by strings or by their
    position, and a temporal size is neither.
    """

    def __init__(self, layer: str, time: int) -> None:
        super().__init__()


class Streams(MutableModule):
    """The stream slots of a module. A sample needs the decisions of the active ones only."""

    def __init__(self, slots: list[LayerChoice]) -> None:
        super().__init__()
        self.active = SomeInputs(len(slots), n_chosen=None, reduction="concat", label="streams")
        self.slots = nn.ModuleList(slots)

    def check_contains(self, sample: Sample) -> SampleValidationError | None:
        error = self.active.check_contains(sample)
        if error is not None:
            return error
        active = (self.slots[slot] for slot in self.active.choice.freeze(sample))
        return next(filter(None, (slot.check_contains(sample) for slot in active)), None)


def _stage(name: str) -> Repeat:
    """A module of the paper, repeated. The repeats share their decisions, so one stands for all."""
    with label_scope(name):
        streams = Streams([_stream(f"stream{slot}") for slot in STREAM_COUNTS])
        return Repeat(lambda repeat: streams, (REPEATS[0], REPEATS[-1]), label="repeats")


def _stream(name: str) -> LayerChoice:
    """One of the four stream types of figure 5."""
    with label_scope(name):
        candidates: dict[str, nn.Module] = {
            "conv1x1x1": nn.Identity(),
            "conv": _conv("conv1"),
            "conv_conv": nn.Sequential(_conv("conv1"), _conv("conv2")),
            "pool": _pool("pool"),
        }
        return LayerChoice(candidates, label="type")


def _conv(name: str) -> LayerChoice:
    with label_scope(name):
        time = nni.choice("time", list(TIMES))
        candidates: dict[str, nn.Module] = {op: Timed(op, time) for op in OPS}
        return LayerChoice(candidates, label="op")


def _pool(name: str) -> Timed:
    with label_scope(name):
        return Timed("pool", nni.choice("time", list(TIMES)))
