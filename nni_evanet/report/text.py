"""An architecture drawn with characters: modules from top to bottom, one line a stream."""

from __future__ import annotations

from nni_evanet.architecture import Architecture, Module, Stream


def draw_text(architecture: Architecture) -> str:
    """Several lines; "t5" is a temporal size of 5 frames, "×3" a module repeated three times."""
    stem = architecture.stem
    # The pool before each module; the second shares the temporal size of the first.
    pools = (stem.pool1_time, stem.pool1_time, stem.pool3_time, stem.pool4_time)
    lines = [f"stem        {stem.conv_op} t{stem.conv_time}"]
    for number, (pool_time, module) in enumerate(zip(pools, architecture.modules, strict=True), 1):
        lines.append(f"            pool t{pool_time}")
        lines += _draw_module(number, module)
    return "\n".join(lines)


def _draw_module(number: int, module: Module) -> list[str]:
    head = f"module {number} ×{module.repeats}"
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
