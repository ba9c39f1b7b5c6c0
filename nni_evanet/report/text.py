"""An architecture drawn with characters: modules from top to bottom, one line a stream."""

from __future__ import annotations

from nni_evanet.architecture import Architecture, InceptionStem, Module, Stem, Stream


def draw_text(architecture: Architecture) -> str:
    """Several lines; "t5" is a temporal size of 5 frames, "×3" a module repeated three times."""
    before = _layers_before_modules(architecture.stem)
    lines: list[str] = []
    for number, module in enumerate(architecture.modules, 1):
        layers = before.get(number, [])
        lines += [f"{'stem' if not lines and i == 0 else '':<12}{x}" for i, x in enumerate(layers)]
        lines += _draw_module(number, module)
    return "\n".join(lines)


def _layers_before_modules(stem: Stem) -> dict[int, list[str]]:
    if isinstance(stem, InceptionStem):
        first = [f"{stem.conv7x7_op} t{stem.conv7x7_time}", f"pool t{stem.pool1_time}", "1×1×1"]
        first += [f"{stem.conv3x3_op} t{stem.conv3x3_time}", f"pool t{stem.pool2_time}"]
        return {1: first, 3: ["pool t3"], 8: ["pool t2"]}
    # The second pool shares the temporal size of the first.
    pool1 = f"pool t{stem.pool1_time}"
    first = [f"{stem.conv_op} t{stem.conv_time}", pool1]
    return {1: first, 2: [pool1], 3: [f"pool t{stem.pool3_time}"], 4: [f"pool t{stem.pool4_time}"]}


def _draw_module(number: int, module: Module) -> list[str]:
    head = f"module {number}" + (f" ×{module.repeats}" if module.repeats > 1 else "")
    streams = [_draw_stream(stream) for stream in module.streams]
    branches = ["─"] if len(streams) == 1 else ["┬", *("├" for _ in streams[2:]), "└"]
    return [
        f"{head if row == 0 else '':<12}{branch}─ {stream}"
        for row, (branch, stream) in enumerate(zip(branches, streams, strict=True))
    ]


def _draw_stream(stream: Stream) -> str:
    if stream.type == "pool":
        return f"pool t{stream.time} → 1×1×1"
    layers = ["1×1×1"]
    if stream.op is not None:
        layers.append(f"{stream.op} t{stream.time}")
    if stream.op2 is not None:
        layers.append(f"{stream.op2} t{stream.time2}")
    return " → ".join(layers)
