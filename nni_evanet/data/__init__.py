"""Video data: datasets by name, their validation part, and clips.

This module is light: a search's command line can list a dataset without importing torch. Clips are
in `nni_evanet.data.clips` and `nni_evanet.data.batches`.
"""

from nni_evanet.data.partition import Partition, read_partition, split_validation, write_partition
from nni_evanet.data.registry import DATASETS, DataSource, load_dataset
from nni_evanet.data.videos import Action, DataError, Video, VideoSet

__all__ = [
    "DATASETS",
    "Action",
    "DataError",
    "DataSource",
    "Partition",
    "Video",
    "VideoSet",
    "load_dataset",
    "read_partition",
    "split_validation",
    "write_partition",
]
