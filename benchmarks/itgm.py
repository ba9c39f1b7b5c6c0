"""How long iTGM takes beside a bare 2D convolution, (2+1)D, and conv3d with the same kernel.

    python benchmarks/itgm.py [--json]

Forward is inference; training is the forward pass and the gradients of input and parameters. Clips
lie in channels-last memory. Times are medians in milliseconds; the layers of a row take turns, so
that whatever else the machine does meets all of them, and every ratio comes from one run.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from nni_evanet.layers import ITGM, Conv2Plus1d, Conv3d

SHAPES = (
    (64, 128, 16, 44, 44),
    (128, 256, 16, 22, 22),
    (256, 512, 8, 11, 11),
    (32, 64, 32, 56, 56),
)
LENGTHS = (3, 7, 11)
REPEATS = 3


class Conv2d(nn.Module):
    """A 3x3 convolution of every frame by itself: what iTGM adds its temporal part to."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        frames = x.permute(0, 2, 3, 4, 1).flatten(0, 1).permute(0, 3, 1, 2)
        y = self.conv(frames).permute(0, 2, 3, 1).unflatten(0, (-1, x.shape[2]))
        return y.permute(0, 4, 1, 2, 3)


def build_layers(in_channels: int, out_channels: int, length: int) -> dict[str, nn.Module]:
    """What is compared."""
    itgm = ITGM(in_channels, out_channels, length)
    conv3d = Conv3d(in_channels, out_channels, length)
    conv3d.weight.data = itgm.kernel().detach()
    return {
        "conv2d": Conv2d(in_channels, out_channels),
        "itgm": itgm,
        "conv2plus1d": Conv2Plus1d(in_channels, out_channels, length),
        "conv3d": conv3d,
    }


def run_forward(layer: nn.Module, x: Tensor) -> None:
    with torch.inference_mode():
        layer(x)


def run_training(layer: nn.Module, x: Tensor) -> None:
    x = x.detach().requires_grad_()
    y = layer(x)
    torch.autograd.grad(y, [x, *layer.parameters()], torch.ones_like(y))


def measure(
    run: Callable[[nn.Module, Tensor], None], layers: dict[str, nn.Module], x: Tensor
) -> dict[str, float]:
    """Median milliseconds of each layer, after one run that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in layers}
    for _ in range(REPEATS + 1):
        for name, layer in layers.items():
            start = time.perf_counter()
            run(layer, x)
            seconds[name].append(time.perf_counter() - start)
    return {name: 1e3 * statistics.median(values[1:]) for name, values in seconds.items()}


def measure_all() -> Iterator[dict[str, Any]]:
    """One row for each shape, length and pass."""
    for shape in SHAPES:
        in_channels, out_channels, *size = shape
        x = torch.randn(1, in_channels, *size).to(memory_format=torch.channels_last_3d)
        for length in LENGTHS:
            layers = build_layers(in_channels, out_channels, length)
            check_equal(layers["itgm"].eval(), layers["conv3d"].eval(), x)
            for name, run in (("forward", run_forward), ("training", run_training)):
                for layer in layers.values():
                    layer.train(run is run_training)
                times = measure(run, layers, x)
                yield {
                    "shape": shape,
                    "time": length,
                    "pass": name,
                    "milliseconds": times,
                    "itgm / conv2d": times["itgm"] / times["conv2d"],
                    "conv3d / itgm": times["conv3d"] / times["itgm"],
                }


@torch.inference_mode()
def check_equal(itgm: nn.Module, conv3d: nn.Module, x: Tensor) -> None:
    torch.testing.assert_close(itgm(x), conv3d(x), rtol=1e-3, atol=1e-3)


def print_table(rows: list[dict[str, Any]]) -> None:
    table = Table("C_in,C_out,T,H,W", "L", "pass", title=f"{torch.get_num_threads()} threads, ms")
    for column in (*rows[0]["milliseconds"], "itgm / conv2d", "conv3d / itgm"):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(
            ",".join(map(str, row["shape"])),
            str(row["time"]),
            row["pass"],
            *(f"{value:.1f}" for value in row["milliseconds"].values()),
            f"{row['itgm / conv2d']:.2f}",
            f"{row['conv3d / itgm']:.2f}",
        )
    Console(width=120).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print the rows as JSON, no table")
    as_json = parser.parse_args().json
    rows = []
    for row in measure_all():
        rows.append(row)
        print(f"{row['shape']} L={row['time']} {row['pass']} done", file=sys.stderr)
    if as_json:
        print(json.dumps(rows, indent=1))
    else:
        print_table(rows)


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
