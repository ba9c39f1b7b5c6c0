"""Evolution of video architectures, and its doors to NNI.

`Evolution` needs the standard library only. `EvaNetTuner` serves `nnictl`;
`DiversityAnnealedEvolution` serves `NasExperiment`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from nni_evanet.strategies.evolution import Evaluation, Evolution, Proposal, tournament
from nni_evanet.strategies.schedules import Annealed, Constant
from nni_evanet.strategies.spaces import ArchitectureSpace, Space

if TYPE_CHECKING:
    from nni_evanet.strategies.nni_strategy import DiversityAnnealedEvolution
    from nni_evanet.strategies.nni_tuner import EvaNetTuner

__all__ = [
    "Annealed",
    "ArchitectureSpace",
    "Constant",
    "DiversityAnnealedEvolution",
    "EvaNetTuner",
    "Evaluation",
    "Evolution",
    "Proposal",
    "Space",
    "tournament",
]

_DOORS = {"EvaNetTuner": "nni_tuner", "DiversityAnnealedEvolution": "nni_strategy"}


def __getattr__(name: str) -> Any:
    # NNI is imported with the door that needs it: nni.nas alone takes 7 s.
    if name in _DOORS:
        return getattr(import_module(f"{__name__}.{_DOORS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
