"""Reading TensorFlow checkpoints, by TensorFlow itself, which is an optional dependency.

The only smaller reader on PyPI calls itself unfinished and has had no release since 2023.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from nni_evanet.errors import InputError

_FILE_ENDINGS = re.compile(r"\.(index|meta|data-\d{5}-of-\d{5})$")


def read_checkpoint(path: Path, wanted: Callable[[str], bool]) -> dict[str, Any]:
    """The variables of a checkpoint, {name: array}.

    Args:
        path: the checkpoint's prefix (`model.ckpt`), one of its files (`model.ckpt.index`), or a
            folder whose `checkpoint` file names the newest.
        wanted: of the names that it is given, which variables to read.

    Raises:
        InputError: there is no such checkpoint, it cannot be read, or TensorFlow is missing.
    """
    prefix = str(path) if path.is_dir() else _FILE_ENDINGS.sub("", str(path))
    if not path.is_dir() and not (Path(f"{prefix}.index").exists() or Path(prefix).exists()):
        raise InputError(f"checkpoint: neither {prefix}.index nor {prefix} exists")
    tensorflow = _import_tensorflow()
    try:
        reader = tensorflow.train.load_checkpoint(prefix)
        names = sorted(filter(wanted, reader.get_variable_to_shape_map()))
        return {name: reader.get_tensor(name) for name in names}
    # TensorFlow's readers raise its own errors, and built-in ones, for a damaged file.
    except (tensorflow.errors.OpError, ValueError, RuntimeError, IndexError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"checkpoint: {prefix} cannot be read: {reason}") from None


def _import_tensorflow() -> ModuleType:
    # Before TensorFlow says on stderr which instructions it uses.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        import tensorflow
    except ImportError as error:
        raise InputError(
            "checkpoint: reading one needs TensorFlow, which is optional; install it by "
            f'`pip install "nni-evanet[tensorflow]"` ({error})'
        ) from None
    return tensorflow
