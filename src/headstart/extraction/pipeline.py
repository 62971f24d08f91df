"""Extraction: rows that are wanted and not cached are computed, once; then files are assembled.

The work is cut into rows, (image, view) pairs, because rows are what the cache keeps. Missing rows
flow through three steps that overlap: cut from the stored images (a thread), computed (the
runtime), written in parts. A killed run loses its last part and nothing else.

Several processes share the work without speaking to each other: a row's address says whose it is,
and the cache is where they meet.
"""

import time
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from tqdm import tqdm

from headstart.core.cache_folders import ROWS, cache_name, cache_root
from headstart.core.errors import UserError
from headstart.core.hdf5_files import create_hdf5, write_json
from headstart.extraction.collapse_check import CollapseDetector, check_finite
from headstart.extraction.extraction_stats import ExtractionStats
from headstart.extraction.feature_cache import FeatureCache, reserve_cache
from headstart.extraction.process_shards import SINGLE_PROCESS, Shard
from headstart.extraction.row_extractor import RowExtractor
from headstart.extraction.view_plan import SplitRequest, ViewPlan, WorkQueue
from headstart.extraction.view_rendering import render_view
from headstart.runtime.runtimes import Future, Runtime, extract_array, pad_batch
from headstart.store.examples import SPLITS, Examples, write_examples
from headstart.store.features import merge_provenances
from headstart.store.images import Images
from headstart.store.views import CORNER_SIDE

VERSION = 1
"""Of the way from stored pixels to rows (here, views.py, runtime.py): whoever changes what it gives
raises it, and old rows go unused."""

PART_ROWS = 1024
"""Rows in a part of the cache: what a killed run loses at most."""

TOLERANCES = {"float32": 1e-2, "bfloat16": 1e-2, "int8": 1e-2}
"""By precision: relative error up to which a recomputed row is the cached one; float16 keeps it
within 1e-3."""

NETWORK_RATE_BATCHES = 50
"""Batches from which on it is worth two more to learn what the network alone would take."""

T = TypeVar("T")


class Pixels(Protocol):
    """M square images uint8, of which slices and arrays of positions are read: [n, S, S, 3].

    One position reads one image. They may also be a list of n images of different sides.
    """

    def __getitem__(self, positions: Any, /) -> Any: ...


def extract_features(
    images: Images,
    folder: Path,
    members: Iterable[RowExtractor],
    plan: ViewPlan,
    dtype: str,
    share: Shard = SINGLE_PROCESS,
) -> list[ExtractionStats]:
    """Writes `<folder>/<split>.h5` for every split that has images: features [N, V, D].

    members: one backbone; or several, whose features stand side by side, D the sum of theirs. Each
    is taken from `members` when the one before has all its rows.
    share: where several processes extract together, the first of them writes the files.

    Raises:
        UserError: a feature doesn't fit `dtype`; features have collapsed; two members are one
            backbone.
    """
    splits = {
        split: SplitRequest(rows, images.digests[rows], plan.views(split))
        for split in SPLITS
        if len(rows := images.rows(split))
    }
    caches: list[FeatureCache] = []
    provenances: list[dict[str, Any]] = []
    counts: list[ExtractionStats] = []
    with ExitStack() as locks:
        for member in members:
            name, runtime, _ = member
            provenance = row_provenance(member)
            if provenance in provenances:
                raise UserError(f"'{name}' is the same backbone as another that it stands beside")
            cache_folder = cache_root() / ROWS / cache_name(provenance, dtype)
            # Each of one run's processes is a writer of its own: they must not wait for each other.
            locks.enter_context(reserve_cache(cache_folder, share.rank))
            cache = FeatureCache(cache_folder, runtime.width, dtype, share.rank)
            counts.append(
                fill_cache(cache, runtime, images.pixels, list(splits.values()), name, share)
            )
            caches.append(cache)
            provenances.append(provenance)
        if share.rank > 0:
            return counts
        for cache in caches:
            await_other_processes(cache, list(splits.values()))
        for split, wanted in splits.items():
            write_features(
                folder / f"{split}.h5",
                caches,
                wanted,
                plan.names(split),
                images.examples[wanted.positions],
                merge_provenances(provenances),
            )
    return counts


def row_provenance(member: RowExtractor) -> dict[str, Any]:
    """Plain JSON that determines a member's rows: the backbone, its runtime, and how we cut."""
    return {
        **member.provenance,
        **member.runtime.provenance,
        "extraction": {"version": VERSION, "corner_side": CORNER_SIDE},
    }


def fill_cache(
    cache: FeatureCache,
    runtime: Runtime,
    pixels: Pixels,
    splits: list[SplitRequest],
    label: str,
    share: Shard = SINGLE_PROCESS,
) -> ExtractionStats:
    """Computes every row that `splits` want, `cache` lacks and `share` holds.

    label: of the progress bar and in messages, the backbone's name.

    Before that a few cached rows are computed again; where they differ, something that the
    cache's address doesn't cover has changed, and the whole cache is cleared.

    Raises:
        UserError: a feature doesn't fit the cache's dtype; the features have collapsed; or cached
            rows differ while other processes use them.
    """
    began = time.perf_counter()
    counts = ExtractionStats(dropped=cache.dropped)
    counts.checked, error = _check(cache, runtime, pixels, splits)
    if error > TOLERANCES[runtime.provenance["precision"]]:
        differ = f"cached rows differ from what is computed now (relative error {error:.2g})"
        if share.world > 1:
            raise UserError(f"{differ}: delete {cache.folder} and run again")
        tqdm.write(f"{differ}: the cache of {len(cache)} rows is dropped")
        cache.clear()
    missing: list[np.ndarray] = []
    for keys in _all_keys(splits):
        counts.wanted += len(keys)
        missing.append(share.select(keys[~cache.has(keys)]))
    todo = WorkQueue(np.concatenate(missing))

    held_keys: list[bytes] = []
    held_rows: list[np.ndarray] = []

    def write() -> None:
        with counts.timed("writing"):
            cache.add(np.array(held_keys, cache.record["key"]), np.concatenate(held_rows))
        held_keys.clear()
        held_rows.clear()

    collapse = CollapseDetector(label)
    quiet = len(todo) == 0 or share.rank > 0
    with tqdm(total=len(todo), desc=label, unit="row", disable=quiet, delay=1, leave=None) as bar:
        batches = _ahead(_batches(todo, pixels, splits, runtime.batch_size, counts))
        for keys, batch, pending in _submitted(runtime, batches, counts):
            with counts.timed("computing"):
                rows = pending()[: len(keys)]
            check_finite(label, rows)
            held_rows.append(cast_features(rows, cache.dtype))
            collapse.check(batch, held_rows[-1])
            held_keys.extend(keys)
            counts.computed += len(keys)
            bar.update(len(keys))
            if len(held_keys) >= PART_ROWS:
                write()
        if held_keys:
            write()
    counts.seconds = time.perf_counter() - began
    if counts.computed >= NETWORK_RATE_BATCHES * runtime.batch_size:
        counts.network_rate = _network_rate(runtime, np.asarray(pixels[:1]))
    return counts


def await_other_processes(cache: FeatureCache, splits: list[SplitRequest]) -> None:
    """Returns once other processes have cached whatever `splits` want beside what is there."""
    told = False
    while not all(cache.has(keys).all() for keys in _all_keys(splits)):
        if not told:
            tqdm.write("waiting for the rows of the other processes")
            told = True
        time.sleep(0.2)
        cache.refresh()


def _all_keys(splits: list[SplitRequest]) -> Iterator[np.ndarray]:
    for wanted in splits:
        for start, stop in wanted.blocks():
            yield wanted.rows(start, stop)[1].ravel()


def _network_rate(runtime: Runtime, images: np.ndarray) -> float:
    """Rows a second that the network alone computes: the faster of two batches."""
    full = pad_batch(images, runtime.batch_size)
    seconds = []
    for _ in range(2):
        began = time.perf_counter()
        runtime.submit(full)()
        seconds.append(time.perf_counter() - began)
    return runtime.batch_size / min(seconds)


def write_features(
    path: Path,
    caches: list[FeatureCache],
    wanted: SplitRequest,
    view_names: list[str],
    examples: Examples,
    provenance: dict[str, Any],
) -> None:
    """Writes the features of one split, all of whose rows are cached, in the split's order.

    caches: of one dtype; their rows stand side by side.
    """
    width = sum(cache.record["row"].shape[0] for cache in caches)
    with create_hdf5(path) as file:
        shape = (len(wanted.positions), len(view_names), width)
        features = file.create_dataset("features", shape, caches[0].record["row"].base)
        for start, stop in wanted.blocks():
            keys = wanted.rows(start, stop)[1]
            rows = np.hstack([cache.get(keys.ravel()) for cache in caches])
            features[start:stop] = rows.reshape(*keys.shape, width)
        write_examples(file, examples)
        write_json(file, "views", view_names)
        write_json(file, "provenance", provenance)


def _batches(
    todo: WorkQueue,
    pixels: Pixels,
    splits: list[SplitRequest],
    size: int,
    counts: ExtractionStats,
) -> Iterator[tuple[list[bytes], np.ndarray]]:
    """The rows to do as (keys, images [<= size, s, s, 3]); a batch's images have one side s."""
    waiting: dict[int, tuple[list[bytes], list[np.ndarray]]] = defaultdict(lambda: ([], []))
    for wanted in splits:
        for start, stop in wanted.blocks():
            views, keys = wanted.rows(start, stop)
            asked = todo.claim(keys)
            rows = np.flatnonzero(asked.any(axis=1))
            if not len(rows):
                continue
            with counts.timed("reading"):
                images = pixels[wanted.positions[start:stop][rows]]
            for row, image in zip(rows, images, strict=True):
                for column in np.flatnonzero(asked[row]):
                    with counts.timed("cropping"):
                        shown = render_view(image, views[row][column])
                    batch_keys, batch = waiting[shown.shape[0]]
                    batch_keys.append(keys[row, column])
                    batch.append(shown)
                    if len(batch) == size:
                        yield batch_keys, np.stack(batch)
                        del waiting[shown.shape[0]]
    for batch_keys, batch in waiting.values():
        yield batch_keys, np.stack(batch)


def _submitted(
    runtime: Runtime, batches: Iterator[tuple[list[bytes], np.ndarray]], counts: ExtractionStats
) -> Iterator[tuple[list[bytes], np.ndarray, Future]]:
    """Each batch with what is pending; by then the next batch is submitted too."""
    begun: deque[tuple[list[bytes], np.ndarray, Future]] = deque()
    for keys, batch in batches:
        with counts.timed("computing"):
            begun.append((keys, batch, runtime.submit(pad_batch(batch, runtime.batch_size))))
        if len(begun) == 2:
            yield begun.popleft()
    yield from begun


def cast_features(rows: np.ndarray, dtype: str) -> np.ndarray:
    """The same features in another dtype.

    Raises:
        UserError: one of them doesn't fit, or isn't finite.
    """
    with np.errstate(over="ignore"):
        made = rows.astype(dtype)
    if not np.isfinite(made).all():
        raise UserError(
            f"a feature of magnitude {np.abs(rows).max():.3g} doesn't fit {dtype}: "
            f"set dtype to float32, or look at the weights if it isn't finite"
        )
    return made


def _check(
    cache: FeatureCache, runtime: Runtime, pixels: Pixels, splits: list[SplitRequest]
) -> tuple[int, float]:
    """How many cached rows were computed again, and the largest relative error among them.

    One image of each block, under all its views, until there is a batch of each size of crop.
    """
    asked: dict[int, tuple[list[bytes], list[np.ndarray]]] = defaultdict(lambda: ([], []))
    for wanted in splits:
        for start, stop in wanted.blocks():
            views, block = wanted.rows(start, stop)
            cached = cache.has(block.ravel()).reshape(block.shape)
            for row in np.flatnonzero(cached.any(axis=1))[:1]:
                image = pixels[wanted.positions[start + row]]
                for column in np.flatnonzero(cached[row]):
                    shown = render_view(image, views[row][column])
                    keys, images = asked[shown.shape[0]]
                    if len(keys) < runtime.batch_size:
                        keys.append(block[row, column])
                        images.append(shown)
            if asked and all(len(keys) == runtime.batch_size for keys, _ in asked.values()):
                break
    worst = 0.0
    for keys, images in asked.values():
        fresh = extract_array(runtime, np.stack(images))
        old = cache.get(np.array(keys, cache.record["key"])).astype(np.float32)
        error = np.linalg.norm(old - fresh, axis=1) / (np.linalg.norm(fresh, axis=1) + 1e-12)
        worst = max(worst, float(error.max()))
    return sum(len(keys) for keys, _ in asked.values()), worst


def _ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items, each made in a thread while the one before it is in use."""
    end = object()
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, items, end)
        while (item := coming.result()) is not end:
            coming = thread.submit(next, items, end)
            yield item  # pyright: ignore[reportReturnType]
