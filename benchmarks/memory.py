"""The peak memory of an extraction, by the number of images.

    uv run python -m benchmarks.memory

Synthetic images pass through a stand-in for a network, each number of images in a process of its
own. Measured are the reading, cropping, caching and writing around the network.
"""

import resource
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import h5py
import numpy as np

from benchmarks.timing import machine

SIDE, WIDTH = 64, 2048
COUNTS = (10_000, 30_000, 100_000)


def extract(count: int, folder: Path) -> float:
    """Extracts the whole view of `count` images; returns the process's peak memory in MB."""
    from benchmarks.stand_in import stand_in
    from headstart.data.resizing import pixel_digest
    from headstart.extraction.pipeline import extract_features
    from headstart.extraction.view_plan import ViewPlan
    from headstart.store.examples import ClassLabel, Examples
    from headstart.store.images import Images, ImageShard

    with h5py.File(folder / "images.h5", "w") as file:
        pixels = file.create_dataset("pixels", (count, SIDE, SIDE, 3), np.uint8)
        digests = np.empty((count, 32), np.uint8)
        for row in range(count):
            image = np.random.default_rng(row).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
            pixels[row] = image
            digests[row] = np.frombuffer(pixel_digest(image), np.uint8)
        ids = [f"train/n{row % 200:08d}/images/n{row % 200:08d}_{row}.JPEG" for row in range(count)]
        stored = Images(
            pixels,
            digests,
            np.full(count, "train"),
            np.full((count, 4), np.nan, np.float32),
            Examples(ids, np.arange(count) % 200, [ClassLabel(str(c), str(c)) for c in range(200)]),
        )
        shard, member = ImageShard.in_memory(stored), partial(stand_in, WIDTH)
        extract_features([shard], folder, [member], ViewPlan(False, 0), "float16")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    if len(sys.argv) > 1:
        print(extract(int(sys.argv[1]), Path(sys.argv[2])))
        return
    print(machine())
    print("\n| images | peak memory, MB |\n| ---: | ---: |")
    for count in COUNTS:
        with tempfile.TemporaryDirectory() as folder:
            printed = subprocess.run(
                [sys.executable, "-m", "benchmarks.memory", str(count), folder],
                env={"HEADSTART_CACHE": f"{folder}/cache"},
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        print(f"| {count:,} | {float(printed):,.0f} |", flush=True)


if __name__ == "__main__":
    main()
