"""The layouts of a features file: the speed of a scan and of reading random batches.

    uv run python -m benchmarks.storage

Features [N, 2048] float16 like those of a network that ends in ReLU: half of them are zero.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from benchmarks.timing import alternate, machine, table

ROWS, WIDTH, BATCH, ROUNDS = 50_000, 2048, 1024, 3

LAYOUTS: dict[str, dict[str, Any]] = {
    "contiguous": {},
    "chunks of 64 rows": {"chunks": (64, WIDTH)},
    "h5py's own chunks": {"chunks": True},
    "chunks of 64 rows, lzf": {"chunks": (64, WIDTH), "compression": "lzf"},
    "chunks of 64 rows, gzip 4": {"chunks": (64, WIDTH), "compression": 4},
}


def scan(path: Path) -> float:
    """Seconds to read each row once, in order."""
    began = time.perf_counter()
    with h5py.File(path, "r") as file:
        for start in range(0, ROWS, BATCH):
            file["features"][start : start + BATCH]  # pyright: ignore[reportIndexIssue]
    return time.perf_counter() - began


def random_batches(path: Path) -> float:
    """Seconds to read a tenth of the rows in sorted random batches."""
    rng = np.random.default_rng(0)
    began = time.perf_counter()
    with h5py.File(path, "r") as file:
        for _ in range(ROWS // BATCH // 10):
            rows = np.sort(rng.choice(ROWS, BATCH, replace=False))
            file["features"][rows]  # pyright: ignore[reportIndexIssue]
    return time.perf_counter() - began


def main() -> None:
    rng = np.random.default_rng(0)
    features = np.maximum(rng.normal(size=(ROWS, WIDTH)).astype(np.float16), 0)
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: Path(folder, f"{i}.h5") for i, name in enumerate(LAYOUTS)}
        for name, path in paths.items():
            with h5py.File(path, "w") as file:
                file.create_dataset("features", data=features, **LAYOUTS[name])
        sizes = {name: path.stat().st_size / features.nbytes for name, path in paths.items()}
        measured: dict[str, tuple[Callable[[Path], float], int]] = {
            "scan": (scan, ROWS),
            "random batches": (random_batches, ROWS // BATCH // 10 * BATCH),
        }
        for what, (read, rows) in measured.items():
            runs = {name: (lambda p=path, r=read: r(p)) for name, path in paths.items()}
            print(f"\n### {what}\n\n{table(alternate(runs, ROUNDS), 'contiguous', rows, 'row')}")
    print("\nsize against the array's: " + ", ".join(f"{n} {s:.2f}" for n, s in sizes.items()))


if __name__ == "__main__":
    main()
