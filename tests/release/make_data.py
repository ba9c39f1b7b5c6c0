"""Make the reference numbers in `data/` from what running the authors' release gave.

    python make_data.py FOLDER     takes what the tests carry out of the whole data
    python make_data.py --pools    max_pool_gradients.npz, by TensorFlow (2.21 made the present one)

The first needs the folder that NNI_EVANET_RELEASE_DATA names for the tests.
"""

import shutil
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent / "data"


def extract(folder: Path) -> None:
    """All variables, the first input and every case of single operations."""
    with np.load(folder / "rgb1_w8_c51.npz") as whole:
        kept = {k: whole[k] for k in whole.files if k.startswith(("var/", "in0/"))}
    np.savez_compressed(HERE / "rgb1_w8_c51_in0.npz", **kept)
    shutil.copyfile(folder / "unit_ops.npz", HERE / "unit_ops.npz")
    shutil.copyfile(folder / "networks.json", HERE / "networks.json")


POOLS = (
    # kernel, stride, input (B, T, H, W, C), distance of the values, noise that breaks ties
    ((11, 3, 3), (1, 1, 1), (2, 5, 6, 7, 3), 0.25, 0.0),
    ((3, 3, 3), (2, 2, 2), (1, 8, 7, 9, 4), 2.5e-6, 1e-5),
    ((1, 2, 2), (1, 2, 2), (1, 4, 7, 7, 3), 0.25, 0.0),
    ((7, 3, 3), (1, 1, 1), (2, 4, 4, 4, 5), 2.5e-5, 1e-5),
    ((5, 2, 2), (2, 2, 2), (2, 8, 9, 6, 3), 25.0, 0.0),
)


def pool_gradients() -> None:
    """Max-pools of inputs with many ties, exact ones and near ones."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    arrays = {}
    for i, (kernel, stride, shape, distance, noise) in enumerate(POOLS):
        x = np.maximum(np.round(rng.normal(size=shape) * 4), 0) * distance
        x = (x + rng.normal(size=shape) * noise).astype(np.float32)
        clip = tf.constant(x)
        with tf.GradientTape() as tape:
            tape.watch(clip)
            y = tf.nn.max_pool3d(clip, [1, *kernel, 1], [1, *stride, 1], "SAME")
            coefficients = rng.normal(size=y.shape).astype(np.float32)
            total = tf.reduce_sum(y * coefficients)
        gradient = tape.gradient(total, clip).numpy()
        case = {"kernel": kernel, "stride": stride, "x": x, "coef": coefficients, "grad": gradient}
        arrays |= {f"{i}/{name}": np.asarray(value) for name, value in case.items()}
    np.savez_compressed(HERE / "max_pool_gradients.npz", **arrays)


if __name__ == "__main__":
    if sys.argv[1:] == ["--pools"]:
        pool_gradients()
    else:
        extract(Path(sys.argv[1]))
