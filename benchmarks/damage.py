"""The share of damaged JPEGs that `decode` detects, and the speed of decoding.

    uv run python -m benchmarks.damage photos.zip

Takes a folder or .zip of JPEGs. All are decoded by `decode` and by Pillow alone, in one thread; the
pixels must be the same. Then 400 of them, chosen at random, are damaged in three ways.
"""

import argparse
import io
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from benchmarks.timing import machine
from headstart.data.decoding import UnreadableImageError, decode
from headstart.data.files.file_tree import open_tree

DAMAGED, ROUNDS = 400, 3
Decoder = Callable[[bytes], np.ndarray]


def ours(data: bytes) -> np.ndarray:
    return decode(data, 10**9)


def pillow(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.array(ImageOps.exif_transpose(image).convert("RGB"))


DECODERS: dict[str, Decoder] = {"headstart": ours, "Pillow": pillow}


def scan_start(data: bytes) -> int:
    """The offset of the scan_start pixels of a JPEG's first scan, in bytes."""
    start = 2
    while True:
        end = start + 2 + int.from_bytes(data[start + 2 : start + 4])
        if data[start + 1] == 0xDA:
            return end
        start = end


def overwrite(data: bytes, count: int, random: np.random.Generator) -> bytes:
    """Replaces `count` bytes of the scan_start pixels by others."""
    changed = np.frombuffer(data, np.uint8).copy()
    at = random.choice(np.arange(scan_start(data), len(data) - 2), count, replace=False)
    changed[at] += random.integers(1, 256, count).astype(np.uint8)
    return changed.tobytes()


def cut_in_half(data: bytes, _: np.random.Generator) -> bytes:
    """Keeps the first half of the scan_start pixels, followed by the marker of a JPEG's end."""
    return data[: (scan_start(data) + len(data)) // 2] + b"\xff\xd9"


DAMAGE: dict[str, Callable[[bytes, np.random.Generator], bytes]] = {
    "8 bytes overwritten": lambda data, random: overwrite(data, 8, random),
    "1 byte overwritten": lambda data, random: overwrite(data, 1, random),
    "half, with an end marker": cut_in_half,
}


def count_accepted(
    decoder: Decoder, damaged: list[bytes], whole: list[np.ndarray]
) -> tuple[int, int]:
    """The number of files that are decoded, and of those whose mean error exceeds 5 gray levels."""
    count = wrong = 0
    for data, pixels in zip(damaged, whole, strict=True):
        try:
            shown = decoder(data)
        except (UnreadableImageError, OSError, SyntaxError):
            continue
        count += 1
        wrong += shown.shape != pixels.shape or np.abs(shown - pixels.astype(int)).mean() > 5
    return count, wrong


def cpu_seconds(decoder: Decoder, files: list[bytes]) -> float:
    """CPU seconds to decode all files: the minimum over the rounds."""
    taken = []
    for _ in range(ROUNDS):
        began = time.process_time()
        for data in files:
            decoder(data)
        taken.append(time.process_time() - began)
    return min(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path)
    source = open_tree(parser.parse_args().images, "images")
    files = [source.read(n) for n in source.names if n.lower().endswith((".jpg", ".jpeg"))]
    for data in files:
        np.testing.assert_array_equal(ours(data), pillow(data))
    print(f"{machine()}\n{len(files)} JPEGs: none refused, the pixels are Pillow's")
    rates = {name: len(files) / cpu_seconds(d, files) for name, d in DECODERS.items()}
    print("; ".join(f"{name} {rate:,.0f} per CPU second" for name, rate in rates.items()))
    random = np.random.default_rng(0)
    chosen = [files[i] for i in random.permutation(len(files))[:DAMAGED]]
    whole = [ours(data) for data in chosen]
    print(f"accepted of {len(chosen)} damaged ones, and of those wrong by more than 5 gray levels:")
    for kind, damage in DAMAGE.items():
        damaged = [damage(data, random) for data in chosen]
        for name, decoder in DECODERS.items():
            count, wrong = count_accepted(decoder, damaged, whole)
            print(f"{kind}: {name} {count}, {wrong}")


if __name__ == "__main__":
    main()
