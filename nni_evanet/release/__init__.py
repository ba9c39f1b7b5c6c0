"""The authors' released networks: their architectures, their parametrisation, their checkpoints.

The networks of `nni_evanet.networks` follow the paper. Those here compute what the authors' own
code computes, so that their checkpoints load and give their logits:

    network = release.build("rgb1", num_classes=400)
    release.load_variables(network, {"VidIncRes/BatchNorm/beta": array, ...})

`release.import_release` does both from a TensorFlow checkpoint and writes a safetensors file, which
`release.load` turns into a network.
"""

from nni_evanet.release.dna import DNAS, architecture, decode
from nni_evanet.release.files import Imported, import_release, load
from nni_evanet.release.layers import CauchyITGM, TemporalFirstConv2Plus1d
from nni_evanet.release.network import ReleaseNetwork, build
from nni_evanet.release.variables import VariablesError, load_variables, variables

__all__ = [
    "DNAS",
    "CauchyITGM",
    "Imported",
    "ReleaseNetwork",
    "TemporalFirstConv2Plus1d",
    "VariablesError",
    "architecture",
    "build",
    "decode",
    "import_release",
    "load",
    "load_variables",
    "variables",
]
