"""What the paper published, to stand beside one's own numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedTable:
    """A table of the paper.

    Attributes:
        source: where it stands, and what was measured.
        rows: (method, percent).
    """

    source: str
    rows: tuple[tuple[str, float], ...]


PUBLISHED = {
    "hmdb51": PublishedTable(
        "Table 2: accuracy on HMDB51, mean of the three splits, RGB and flow, "
        "pre-trained on Kinetics",
        (
            ("Two-stream I3D", 80.9),
            ("3D-Ensemble", 79.9),
            ("iTGM-Ensemble", 80.1),
            ("Top model, individual", 81.3),
            ("EvaNet", 82.3),
        ),
    ),
    "kinetics": PublishedTable(
        "Table 3: accuracy on Kinetics-400 of November 2018, RGB and flow",
        (
            ("Two-stream I3D", 72.6),
            ("3D Conv", 72.6),
            ("(2+1)D Conv", 74.3),
            ("iTGM Conv", 74.4),
            ("3D-Ensemble", 74.6),
            ("iTGM-Ensemble", 74.7),
            ("Diverse Ensemble (3D, (2+1)D, iTGM)", 75.3),
            ("Arch. Ensemble (I3D, ResNet-50, ResNet-101)", 75.4),
            ("Random Ensemble", 72.6),
            ("Top 1, individual", 76.4),
            ("EvaNet", 77.2),
        ),
    ),
    "charades": PublishedTable(
        "Table 4: mean average precision on Charades, RGB, pre-trained on Kinetics",
        (
            ("Non-local NN", 37.5),
            ("3D-Ensemble", 35.2),
            ("iTGM-Ensemble", 35.7),
            ("Top 1, individual", 37.3),
            ("EvaNet", 38.1),
        ),
    ),
    "moments": PublishedTable(
        "Table 5: accuracy on Moments in Time, architectures evolved on Kinetics",
        (
            ("I3D", 29.5),
            ("ResNet-50", 30.5),
            ("ResNet-50 + NL", 30.7),
            ("Arch. Ensemble (I3D, ResNet-50, ResNet-101)", 30.9),
            ("Top 1, individual", 30.5),
            ("EvaNet", 31.8),
        ),
    ),
}
"""By dataset, as `nni_evanet.data.DataSource` names it."""

LAYER_STATISTICS = {
    "Top 1": ((2, 5.0), (6, 7.2), (16, 7.2), (None, 6.0)),
    "Top 2": ((6, 7.8), (7, 8.1), (12, 8.6), (None, 5.7)),
    "Top 3": ((2, 6.0), (6, 7.8), (15, 8.5), (None, 6.2)),
}
"""Table 9, on Kinetics: (layers, mean temporal size) of 3D, (2+1)D, iTGM and pool."""
