"""Time and memory of an extraction by the number of rows: how far one machine goes.

    uv run python -m benchmarks.scale --rows 100000 1000000 --folder /tmp/scale

Narrow rows of tiny images pass through a stand-in for a network, in shards of 100,000 images. Each
step is a process of its own, of which the seconds and the peak memory are taken: the first run; one
that finds nothing to do; one after 1 % more images were added, which fall into all shards; and one
after 1 % were added to as few shards as hold 1 %. The figures are appended to FOLDER/scale.tsv.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

WIDTH, SHARD = 8, 100_000


def make(images: Path, rows: int, added: str) -> None:
    """Writes the shards of `rows` images; again those that change if images are `added`."""
    from benchmarks.stand_in import image_id, write_shard
    from headstart.store.shards import shard_of, shard_path

    shards = max(1, rows // SHARD)
    more = rows // 100 if added == "spread" else 0
    of = np.fromiter((shard_of(image_id(n), shards) for n in range(rows + more)), np.int32)
    for shard in range(shards):
        numbers = np.flatnonzero(of == shard)
        if added == "together" and shard < max(1, shards // 100):
            # Numbers that aren't there yet, as if all that fall into this shard came at once.
            extra = rows // 100 // max(1, shards // 100)
            numbers = np.append(numbers, np.arange(extra) + 2 * rows + shard * extra)
        if not added or added == "spread" or shard < max(1, shards // 100):
            write_shard(shard_path(images, shard, shards), numbers)


def extract(images: Path, features: Path) -> str:
    """Runs an extraction; returns its closing line."""
    from benchmarks.stand_in import stand_in
    from headstart.extraction.pipeline import extract_features
    from headstart.extraction.view_plan import ViewPlan
    from headstart.store.images import image_shards

    shards = image_shards(images)
    member = [partial(stand_in, WIDTH, 256)]
    return str(extract_features(shards, features, member, ViewPlan(False, 0), "float16")[0])


def step(*arguments: str, cache: Path) -> tuple[float, float, float, str]:
    """Runs this module in a process; returns its seconds, those of its CPU, and its peak GB."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    process = subprocess.run(
        [sys.executable, "-m", "benchmarks.scale", *arguments],
        env={**os.environ, "HEADSTART_CACHE": str(cache)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    peak, *text = process.stdout.splitlines()
    return seconds, cpu, float(peak) / 1e6, " ".join(text)


def measure(rows: int, folder: Path) -> None:
    images, features, cache = folder / "images.h5", folder / "features", folder / "cache"
    steps = [("first run", ""), ("nothing to do", None), ("1 % in few shards", "together")]
    steps += [("1 % in all shards", "spread")]
    for name, added in steps:
        if added is not None:
            step("--make", str(images), "--rows", str(rows), "--added", added, cache=cache)
        seconds, cpu, peak, text = step("--extract", str(images), str(features), cache=cache)
        line = f"{rows}\t{name}\t{seconds:.1f}\t{cpu:.1f}\t{peak:.3f}\t{text}"
        print(line, flush=True)
        with (folder.parent / "scale.tsv").open("a") as table:
            table.write(line + "\n")


def draw(table: Path, path: Path) -> None:
    """Draws seconds of CPU and peak memory by the number of rows, one line for each step."""
    from headstart.plotting import save_figure

    lines = [line.split("\t") for line in table.read_text().splitlines()]
    with save_figure(path, 8, 3.4) as figure:
        time_axes, memory_axes = figure.subplots(1, 2)
        for name in dict.fromkeys(line[1] for line in lines):
            of = sorted((int(line[0]), *map(float, line[2:5])) for line in lines if line[1] == name)
            rows, _, cpu, peak = zip(*of, strict=True)
            time_axes.plot(rows, cpu, ".-", label=name)
            memory_axes.plot(rows, peak, ".-")
        time_axes.set(xlabel="rows", ylabel="seconds of CPU, imports included", ylim=(0, None))
        memory_axes.set(xlabel="rows", ylabel="peak memory, GB", ylim=(0, 1.6))
        every = sorted({int(line[0]) for line in lines})
        for axes in (time_axes, memory_axes):
            axes.set_xscale("log")
            axes.set_xticks(every, [f"{rows:,}" for rows in every])
            axes.minorticks_off()
        figure.legend(*time_axes.get_legend_handles_labels(), loc="outside upper left", ncols=4)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    arguments.add_argument("--folder", type=Path)
    arguments.add_argument("--figure", type=Path, help="draws FOLDER/scale.tsv")
    arguments.add_argument("--added", default="", help=argparse.SUPPRESS)
    arguments.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    arguments.add_argument("--extract", type=Path, nargs=2, help=argparse.SUPPRESS)
    args = arguments.parse_args()
    if args.figure:
        draw(args.folder / "scale.tsv", args.figure)
    elif args.make:
        finish(partial(make, args.make, args.rows[0], args.added))
    elif args.extract:
        finish(partial(extract, *args.extract))
    else:
        for rows in args.rows:
            folder = args.folder / str(rows)
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            measure(rows, folder)
            shutil.rmtree(folder)


def finish(work: Callable[[], str | None]) -> None:
    """Prints this process's peak memory in KB after `work`, and what it returns."""
    text = work()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    print(text or "")


if __name__ == "__main__":
    main()
