"""Small datasets in the layouts in which the real ones lie on disks, of encoded videos.

Every writer returns the data path. The brightness of a video's frames tells its class, so that a
network can learn it.
"""

from __future__ import annotations

import os
import zlib
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from nni_evanet.data import VideoSet

HMDB51_CLASSES = ("brush_hair", "sword", "sword_exercise")
# What file names of the real dataset hold, and worse.
HMDB51_FILMS = (
    "Faith_Rewarded",
    "#20_Rhythm",
    "Alien & Predator!",
    "[Best] of (1);2",
    "A.B_test_",
    "Brüder",
)
CHARADES_CLASSES = ("Holding some clothes", "Opening a door", "Sitting; at a table", "Laughing")
MOMENTS_CLASSES = ("adult+female+singing", "clapping", "playing+music")
KINETICS_CLASSES = ("abseiling", "playing guitar", 'throwing "discus"')


def write_video(
    path: Path,
    *,
    frames: int = 16,
    fps: int = 25,
    brightness: int = 100,
    size: tuple[int, int] = (48, 64),
) -> Path:
    """Encode noise; the codec is the usual one of the container. ``size`` is height, width."""
    codec = "mpeg4" if path.suffix == ".avi" else "libx264"
    options = {} if codec == "mpeg4" else {"preset": "ultrafast"}
    path.parent.mkdir(parents=True, exist_ok=True)
    # No two files of a tree are the same.
    rng = np.random.default_rng(zlib.crc32(os.fsencode(path.name)))
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(fps), options=options)
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        for _ in range(frames):
            picture = rng.integers(0, 30, (*size, 3), np.uint8) + np.uint8(brightness)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def write_pictures(folder: Path, pattern: str, *, frames: int = 16, brightness: int = 100) -> Path:
    """Write a video as numbered JPEG pictures; ``pattern`` such as ``"ID-{:06}.jpg"``, from 1."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(brightness)
    for number in range(1, frames + 1):
        picture = rng.integers(0, 30, (48, 64, 3), np.uint8) + np.uint8(brightness)
        # OpenCV does not take every name that the file system takes.
        (folder / pattern.format(number)).write_bytes(cv2.imencode(".jpg", picture)[1].tobytes())
    return folder


def hmdb51_tree(
    folder: Path, *, train: int = 4, test: int = 2, frames: int = 16, below: str = ""
) -> Path:
    """All three splits; ``train`` and ``test`` videos a class, and one that is not used.

    The splits differ in which videos they take for what. ``below``: a folder for the class folders.
    """
    splits = folder / "testTrainMulti_7030_splits"
    splits.mkdir(parents=True)
    uses = [1] * train + [2] * test + [0]
    for label, name in enumerate(HMDB51_CLASSES):
        files = [
            f"{HMDB51_FILMS[i % len(HMDB51_FILMS)]}_{name}_u_cm_np1_ba_med_{i}.avi"
            for i in range(len(uses))
        ]
        for file in files:
            write_video(folder / below / name / file, frames=frames, brightness=40 + 60 * label)
        for split in (1, 2, 3):
            turned = uses[split - 1 :] + uses[: split - 1]
            (splits / f"{name}_test_split{split}.txt").write_text(
                "".join(f"{file} {use} \n" for file, use in zip(files, turned, strict=True))
            )
    return folder


def charades_tree(
    folder: Path, *, train: int = 8, test: int = 4, frames: int = 30, pictures: bool = False
) -> Path:
    """Videos of three subjects with up to three actions; each subset's last video has none."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "Charades_v1_classes.txt").write_text(
        "".join(f"c{i:03} {name}\n" for i, name in enumerate(CHARADES_CLASSES))
    )
    for subset, count, letters in (("train", train, "AB"), ("test", test, "YZ")):
        rows = ["id,subject,scene,quality,relevance,verified,script,objects,descriptions,"]
        rows[0] += "actions,length\n"
        for i in range(count):
            name = f"{letters[0]}{i:03}{letters[1]}"
            labels = sorted({i % 4, i * 3 % 4, i * i % 4}) if i < count - 1 else []
            actions = ";".join(f"c{label:03} {0.1 * n:.2f} 0.90" for n, label in enumerate(labels))
            script = '"A person, ""reading"",\nthen laughing."'
            rows.append(
                f"{name},{letters}{i % 3},Kitchen,6,7,Yes,{script},book;door,{script},"
                f"{actions},1.25\n"
            )
            brightness = 40 + 40 * (i % 4)
            if pictures:
                write_pictures(
                    folder / "Charades_v1_rgb" / name,
                    name + "-{:06}.jpg",
                    frames=frames,
                    brightness=brightness,
                )
            else:
                write_video(
                    folder / "Charades_v1_480" / f"{name}.mp4",
                    frames=frames,
                    fps=24,
                    brightness=brightness,
                )
        (folder / f"Charades_v1_{subset}.csv").write_text("".join(rows))
    return folder


def moments_tree(folder: Path, *, train: int = 4, val: int = 2, frames: int = 16) -> Path:
    """``train`` and ``val`` clips a class; the list of classes is not in their names' order."""
    folder.mkdir(parents=True, exist_ok=True)
    order = MOMENTS_CLASSES[::-1]
    (folder / "moments_categories.txt").write_text(
        "".join(f"{name},{order.index(name)}\n" for name in MOMENTS_CLASSES)
    )
    subsets = (("training", "trainingSet.csv", train), ("validation", "validationSet.csv", val))
    for subset, annotation, count in subsets:
        rows = []
        for label, name in enumerate(order):
            for i in range(count):
                clip = f"{name}/yt-{subset}&{label}_{i // 2}_{3 * i}.mp4"
                write_video(folder / subset / clip, frames=frames, brightness=40 + 60 * label)
                rows.append(f"{clip},{name},{3 + i % 2},0\n")
        (folder / annotation).write_text("".join(rows))
    return folder


def kinetics_tree(
    folder: Path, *, train: int = 4, val: int = 2, test: int = 1, frames: int = 16
) -> Path:
    """The official csv of each subset; class folders with underscores for spaces."""
    folder.mkdir(parents=True, exist_ok=True)
    for subset, official, count in (
        ("train", "train", train),
        ("val", "validate", val),
        ("test", "test", test),
    ):
        rows = ["label,youtube_id,time_start,time_end,split\n"]
        for label, name in enumerate(KINETICS_CLASSES):
            for i in range(count):
                youtube_id = f"-{subset}_{label}{i // 2}"
                start = 10 * i
                write_video(
                    folder / subset / name.replace(" ", "_")
                    / f"{youtube_id}_{start:06}_{start + 10:06}.mp4",
                    frames=frames,
                    brightness=40 + 60 * label,
                )  # fmt: skip
                quoted = name.replace('"', '""')
                rows.append(f'"{quoted}",{youtube_id},{start},{start + 10},{official}\n')
        (folder / f"{subset}.csv").write_text("".join(rows))
    return folder


FLOW_LAYOUTS: dict[str, tuple[str, str]] = {
    "relative": ("{stem}/flow_x_{{:05}}.jpg", "{stem}/flow_y_{{:05}}.jpg"),
    "class": ("{class_name}/{name}/flow_x_{{:05}}.jpg", "{class_name}/{name}/flow_y_{{:05}}.jpg"),
    "name": ("{name}/flow_x_{{:05}}.jpg", "{name}/flow_y_{{:05}}.jpg"),
    "charades": ("{name}/{name}-{{:06}}x.jpg", "{name}/{name}-{{:06}}y.jpg"),
    "u and v": ("u/{name}/frame{{:06}}.jpg", "v/{name}/frame{{:06}}.jpg"),
}
"""The conventions of ready-made flow: the pictures of x and of y, by parts of a video's path."""


def flow_tree(
    folder: Path, videos: VideoSet, *, layout: str = "relative", frames: int = 15
) -> Path:
    """Write flow of some videos, in a layout of `FLOW_LAYOUTS`."""
    for video in videos.videos:
        relative = Path(videos.relative(video))
        stem = relative if video.path.is_dir() else relative.with_suffix("")
        brightness = 40 + 40 * (video.labels[0] if video.labels else 0) % 160
        for pattern in FLOW_LAYOUTS[layout]:
            place = pattern.format(stem=stem, class_name=stem.parent.name, name=stem.name)
            write_pictures(
                (folder / place).parent, Path(place).name, frames=frames, brightness=brightness
            )
    return folder
