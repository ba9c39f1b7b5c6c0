"""The paper's search spaces (section 4.1, appendix A) in NNI's primitives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

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
from nni_evanet.decisions import METAS, STREAM_DECISIONS, Decision
from nni_evanet.networks import build_network
from nni_evanet.search_spaces.samples import architecture_of, sample_of
from nni_evanet.search_spaces.subset import SomeInputs
from nni_evanet.space import SearchSpace


class PaperModelSpace(ModelSpace):
    """A search space of the paper, or a part of one, for NNI's strategies and ours.

    The labels are those of `nni_evanet.search_spaces.json_space`. Only `moduleN/streams` differs: a
    list of active slots, counted from 0.

    The space is a declaration: its candidates are stand-ins without parameters, since a layer's
    width depends on how many streams are active, and it has no forward pass. `freeze`, and NNI's
    `executable_model`, give the sampled network, in which only the chosen layers exist:
    (B, `in_channels`, T, H, W) to (B, `num_classes`), T >= 1, H and W >= 16.

    Args:
        num_classes: logits of the network.
        in_channels: channels of a clip.
        width: filters of the stem; the modules' are in proportion.
        dropout: probability before the classifier.
        choices: what narrows the space: the arguments of `nni_evanet.space.SearchSpace`, such as
            `ops=("conv3d", "conv2plus1d")` for the paper's ablation without iTGM.

    Raises:
        ArchitectureError: a choice is not of the paper's space; the message names it.
    """

    meta: ClassVar[str]

    def __init__(
        self,
        num_classes: int,
        *,
        in_channels: int = 3,
        width: int = 64,
        dropout: float = 0.5,
        **choices: Any,
    ) -> None:
        # NNI records the arguments, for the networks; the decisions depend on `choices` alone.
        super().__init__()
        self.search_space = SearchSpace(self.meta, **choices)
        self.stem = _stem(self.search_space)
        names = [f"module{m}" for m in range(1, self.search_space.module_count + 1)]
        self.stages = nn.ModuleDict({name: _stage(self.search_space, name) for name in names})

    @classmethod
    def create_fixed_module(
        cls,
        sample: Mapping[str, Any],
        num_classes: int,
        *,
        in_channels: int = 3,
        width: int = 64,
        dropout: float = 0.5,
        **choices: Any,
    ) -> nn.Module:
        """What NNI calls in place of the constructor where `current_model()` has a sample.

        So it does in every trial: what was not sampled is not even declared there. The result is
        the plain network of `nni_evanet.build_network`.
        """
        space = SearchSpace(cls.meta, **choices)
        return build_network(
            architecture_of(sample, space),
            num_classes=num_classes,
            in_channels=in_channels,
            width=width,
            dropout=dropout,
        )

    def freeze(self, sample: Sample) -> nn.Module:
        """The network of a sample, in which inactive decisions may be missing.

        Raises:
            nni.mutable.SampleValidationError: a value is missing or outside the space.
        """
        self.validate(sample)
        with model_context(sample):
            return type(self)(*self.trace_args, **self.trace_kwargs)

    def forward(self, clips: Tensor) -> Tensor:
        raise RuntimeError("the space only declares choices: freeze a sample to get a network")

    def architecture_of(self, sample: Mapping[str, Any]) -> Architecture:
        """See `nni_evanet.search_spaces.architecture_of`."""
        return architecture_of(sample, self.search_space)

    def sample_of(self, architecture: Architecture) -> dict[str, Any]:
        """See `nni_evanet.search_spaces.sample_of`."""
        return sample_of(architecture, self.search_space)


class ResNetSpace(PaperModelSpace):
    """The ResNet-like meta-architecture (section 4.1). See `PaperModelSpace` for the arguments."""

    meta = "resnet"


class InceptionSpace(PaperModelSpace):
    """The Inception-like one (appendix A). See `PaperModelSpace` for the arguments."""

    meta = "inception"


class Timed(ParametrizedModule):
    """Stands for a layer whose temporal size is a mutable.

    A parameter, because a `LayerChoice` can name its candidates only by strings or by their
    position, and a temporal size is neither.
    """

    def __init__(self, layer: str, time: int) -> None:
        super().__init__()


class Streams(MutableModule):
    """The stream slots of a module. A sample needs the decisions of the active ones only."""

    def __init__(self, slots: list[LayerChoice], counts: tuple[int, ...]) -> None:
        super().__init__()
        self.active = SomeInputs(len(slots), counts=counts, label="streams")
        self.slots = nn.ModuleList(slots)

    def check_contains(self, sample: Sample) -> SampleValidationError | None:
        error = self.active.check_contains(sample)
        if error is not None:
            return error
        active = (self.slots[slot] for slot in self.active.choice.freeze(sample))
        return next(filter(None, (slot.check_contains(sample) for slot in active)), None)


def _stem(space: SearchSpace) -> nn.ModuleList:
    with label_scope("stem"):
        return nn.ModuleList(_layers(space, space.stem_decisions))


def _stage(space: SearchSpace, name: str) -> nn.Module:
    """A module of the paper, repeated. The repeats share their decisions, so one stands for all."""
    with label_scope(name):
        slots = range(1, space.stream_counts[-1] + 1)
        streams = Streams([_stream(space, f"stream{s}") for s in slots], space.stream_counts)
        if not METAS[space.meta].repeated:
            return streams
        return Repeat(lambda repeat: streams, nni.choice("repeats", list(space.repeats)))


def _stream(space: SearchSpace, name: str) -> LayerChoice:
    """One of the stream types of figure 5."""
    with label_scope(name):
        candidates: dict[str, nn.Module] = {
            kind: nn.Sequential(*_layers(space, STREAM_DECISIONS[kind]))
            for kind in space.stream_types
        }
        return LayerChoice(candidates, label="type")


def _layers(space: SearchSpace, decisions: tuple[Decision, ...]) -> list[nn.Module]:
    """A stand-in for each layer: an op is followed by its time, a pool has a time alone."""
    layers: list[nn.Module] = []
    with_op = {d.label.removesuffix("/op") for d in decisions if d.is_op}
    for name in dict.fromkeys(d.label.rpartition("/")[0] for d in decisions):
        with label_scope(name):
            time = nni.choice("time", list(space.times))
            if name in with_op:
                candidates: dict[str, nn.Module] = {op: Timed(op, time) for op in space.ops}
                layers.append(LayerChoice(candidates, label="op"))
            else:
                layers.append(Timed(name, time))
    return layers
