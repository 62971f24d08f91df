"""Extraction: computes the requested rows that the cache lacks, then writes features files.

A row is the feature vector of one (image, view) pair; the cache stores rows. Missing rows pass
through three steps that overlap: views are cropped from the stored images (in a thread), the
runtime computes their features, and the cache stores them in parts. A killed run loses only its
last part.

Several processes share the work without communicating: a hash of a row's key assigns it to one of
them, and all of them read and write the same cache.
"""

import time
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from tqdm import tqdm

from headstart.core.cache_folders import ROWS, cache_name, cache_root
from headstart.core.errors import UserError
from headstart.core.hdf5_files import create_hdf5, write_json
from headstart.core.thread_map import prefetch
from headstart.extraction.collapse_check import CollapseDetector, check_finite
from headstart.extraction.extraction_stats import ExtractionStats
from headstart.extraction.feature_cache import FeatureCache, reserve_cache
from headstart.extraction.process_shards import SINGLE_PROCESS, Shard
from headstart.extraction.row_caches import RowCaches
from headstart.extraction.row_extractor import RowExtractor
from headstart.extraction.view_plan import SplitRequest, ViewPlan, WorkQueue, requests_by_split
from headstart.extraction.view_rendering import render_view
from headstart.runtime.runtimes import Future, Runtime, extract_array, pad_batch
from headstart.store.examples import Examples, write_examples
from headstart.store.features import merge_provenances
from headstart.store.images import Images
from headstart.store.views import CORNER_SIDE

VERSION = 1
"""Increase it when a change here, in `store.views`, `view_rendering` or `runtime` alters the
features;
rows of older versions are then not used."""

PART_ROWS = 1024
"""Most rows in a part of the cache; a killed run loses at most so many."""

PART_BYTES = 64_000_000
"""Most bytes in a part of the cache, unless one row is larger: parts are assembled in memory."""

TOLERANCES = {"float32": 1e-2, "bfloat16": 1e-2, "int8": 1e-2}
"""Largest relative error between a recomputed and a cached row, by precision. Storing rows as
float16
alone causes less than 1e-3."""

NETWORK_RATE_BATCHES = 50
"""Least number of batches in a run for which the network alone is timed, with two more batches."""


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

    members: one backbone, or several whose features are concatenated, so that D is the sum of
    theirs; the next one is taken once the rows of the one before are complete. plan: the views of
    each split. dtype: of the stored features. share: of this process; the process of rank 0 writes
    the files.

    Raises:
        UserError: a feature doesn't fit `dtype`; features have collapsed; two members are the same
            backbone.
    """
    splits = requests_by_split(images, plan)
    caches: list[RowCaches] = []
    provenances: list[dict[str, Any]] = []
    counts: list[ExtractionStats] = []
    with ExitStack() as locks:
        for member in members:
            name, runtime = member.name, member.runtime
            own = row_provenances(member)
            if any(provenance in provenances for provenance in own):
                raise UserError(f"'{name}' is the same backbone as another one beside it")
            # Each of one run's processes is a writer of its own: they must not wait for each other.
            cache = locks.enter_context(open_caches(member, cache_root(), dtype, share.rank))
            counts.append(
                fill_cache(cache, runtime, images.pixels, list(splits.values()), name, share)
            )
            caches.append(cache)
            provenances += own
        if share.rank > 0:
            return counts
        for cache in caches:
            await_other_processes(cache, list(splits.values()))
        for split, request in splits.items():
            write_features(
                folder / f"{split}.h5",
                caches,
                request,
                plan.names(split),
                images.examples[request.positions],
                merge_provenances(provenances),
            )
    return counts


def row_provenances(member: RowExtractor) -> list[dict[str, Any]]:
    """Returns plain JSON that determines a member's rows: its backbone, runtime and cropping.

    One for each of the layers that its features consist of, in their order, or one for all.
    """
    return _provenances(member)[: max(1, len(member.layers) - member.alongside)]


def _provenances(member: RowExtractor) -> list[dict[str, Any]]:
    common = {
        **member.provenance,
        **member.runtime.provenance,
        "extraction": {"version": VERSION, "corner_side": CORNER_SIDE},
    }
    return [common | {"layer": layer.name} for layer in member.layers] or [common]


@contextmanager
def open_caches(
    member: RowExtractor,
    root: Path,
    dtype: str,
    writer: int = 0,
    earlier: RowCaches | None = None,
) -> Iterator[RowCaches]:
    """Opens the caches of a member's rows below `root`; this process alone may write as `writer`.

    earlier: what an earlier call opened; if its folders are the same, only what is new is read.

    Raises:
        UserError: a folder can't be made.
    """
    folders = [root / ROWS / cache_name(own, dtype) for own in _provenances(member)]
    widths = [layer.width for layer in member.layers] or [member.runtime.width]
    with ExitStack() as locks:
        # In one order, so that two processes don't wait for each other.
        for folder in sorted(folders):
            locks.enter_context(reserve_cache(folder, writer))
        if earlier and earlier.folders == folders:
            earlier.refresh()
            yield earlier
            return
        caches = [
            FeatureCache(folder, width, dtype, writer)
            for folder, width in zip(folders, widths, strict=True)
        ]
        yield RowCaches(caches, member.alongside)


def fill_cache(
    cache: RowCaches,
    runtime: Runtime,
    pixels: Pixels,
    splits: list[SplitRequest],
    label: str,
    share: Shard = SINGLE_PROCESS,
) -> ExtractionStats:
    """Computes the rows of `splits` that `cache` lacks and that belong to this process's `share`.

    label: of the progress bar and in messages, the backbone's name.

    First a few cached rows are computed again. If they differ, something has changed that the
    cache's provenance doesn't cover, and the whole cache is cleared.

    Raises:
        UserError: a feature doesn't fit the cache's dtype; the features have collapsed; or cached
            rows differ while other processes use them.
    """
    began = time.perf_counter()
    counts = ExtractionStats(dropped=cache.dropped)
    counts.checked, error = _check(cache, runtime, pixels, splits)
    if error > TOLERANCES[runtime.provenance["precision"]]:
        problem = f"cached rows differ from what is computed now (relative error {error:.2g})"
        if share.world > 1:
            raise UserError(f"{problem}: delete {cache} and run again")
        tqdm.write(f"{problem}: the cache of {len(cache)} rows is dropped")
        cache.clear()
    missing: list[np.ndarray] = []
    for keys in _all_keys(splits):
        counts.wanted += len(keys)
        missing.append(share.select(keys[~cache.has(keys)]))
    todo = WorkQueue(np.concatenate(missing))

    pending_keys: list[bytes] = []
    pending_rows: list[np.ndarray] = []

    def write() -> None:
        with counts.timed("writing"):
            cache.add(np.array(pending_keys, cache.key_dtype), np.concatenate(pending_rows))
        pending_keys.clear()
        pending_rows.clear()

    part_rows = max(1, min(PART_ROWS, PART_BYTES // cache.row_bytes))
    collapse = CollapseDetector(label)
    quiet = len(todo) == 0 or share.rank > 0
    with tqdm(total=len(todo), desc=label, unit="row", disable=quiet, delay=1, leave=None) as bar:
        batches = prefetch(_batches(todo, pixels, splits, runtime.batch_size, counts))
        for keys, batch, future in _submit_batches(runtime, batches, counts):
            with counts.timed("computing"):
                rows = future()[: len(keys)]
            check_finite(label, rows)
            pending_rows.append(cast_features(rows, cache.dtype))
            collapse.check(batch, pending_rows[-1])
            pending_keys.extend(keys)
            counts.computed += len(keys)
            bar.update(len(keys))
            if len(pending_keys) >= part_rows:
                write()
        if pending_keys:
            write()
    counts.seconds = time.perf_counter() - began
    if counts.computed >= NETWORK_RATE_BATCHES * runtime.batch_size:
        counts.network_rate = _network_rate(runtime, np.asarray(pixels[:1]))
    return counts


def await_other_processes(cache: RowCaches, splits: list[SplitRequest]) -> None:
    """Waits until the rows of `splits` that belong to other processes are cached."""
    announced = False
    while not all(cache.has(keys).all() for keys in _all_keys(splits)):
        if not announced:
            tqdm.write("waiting for the rows of the other processes")
            announced = True
        time.sleep(0.2)
        cache.refresh()


def _all_keys(splits: list[SplitRequest]) -> Iterator[np.ndarray]:
    for request in splits:
        for start, stop in request.blocks():
            yield request.rows(start, stop)[1].ravel()


def _network_rate(runtime: Runtime, images: np.ndarray) -> float:
    """Returns the rows per second of the network alone: of the faster of two batches."""
    full = pad_batch(images, runtime.batch_size)
    seconds = []
    for _ in range(2):
        began = time.perf_counter()
        runtime.submit(full)()
        seconds.append(time.perf_counter() - began)
    return runtime.batch_size / min(seconds)


def write_features(
    path: Path,
    caches: list[RowCaches],
    request: SplitRequest,
    view_names: list[str],
    examples: Examples,
    provenance: dict[str, Any],
) -> None:
    """Writes the features of one split, whose rows are all cached, in the order of its images.

    caches: of one dtype; their rows are concatenated. view_names: V names. provenance: plain JSON.
    """
    width = sum(cache.width for cache in caches)
    with create_hdf5(path) as file:
        shape = (len(request.positions), len(view_names), width)
        features = file.create_dataset("features", shape, caches[0].dtype)
        for start, stop in request.blocks():
            keys = request.rows(start, stop)[1]
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
    """Yields the rows to compute as (keys, images [<= size, s, s, 3]) with one side s per batch."""
    open_batches: dict[int, tuple[list[bytes], list[np.ndarray]]] = defaultdict(lambda: ([], []))
    for request in splits:
        for start, stop in request.blocks():
            views, keys = request.rows(start, stop)
            claimed = todo.claim(keys)
            rows = np.flatnonzero(claimed.any(axis=1))
            if not len(rows):
                continue
            with counts.timed("reading"):
                images = pixels[request.positions[start:stop][rows]]
            for row, image in zip(rows, images, strict=True):
                for column in np.flatnonzero(claimed[row]):
                    with counts.timed("cropping"):
                        rendered = render_view(image, views[row][column])
                    batch_keys, batch = open_batches[rendered.shape[0]]
                    batch_keys.append(keys[row, column])
                    batch.append(rendered)
                    if len(batch) == size:
                        yield batch_keys, np.stack(batch)
                        del open_batches[rendered.shape[0]]
    for batch_keys, batch in open_batches.values():
        yield batch_keys, np.stack(batch)


def _submit_batches(
    runtime: Runtime, batches: Iterator[tuple[list[bytes], np.ndarray]], counts: ExtractionStats
) -> Iterator[tuple[list[bytes], np.ndarray, Future]]:
    """Submits each batch and yields it with its future once the next batch is submitted too."""
    submitted: deque[tuple[list[bytes], np.ndarray, Future]] = deque()
    for keys, batch in batches:
        with counts.timed("computing"):
            submitted.append((keys, batch, runtime.submit(pad_batch(batch, runtime.batch_size))))
        if len(submitted) == 2:
            yield submitted.popleft()
    yield from submitted


def cast_features(rows: np.ndarray, dtype: str) -> np.ndarray:
    """Casts features to another dtype.

    Raises:
        UserError: a feature doesn't fit the dtype, or isn't finite.
    """
    with np.errstate(over="ignore"):
        cast = rows.astype(dtype)
    if not np.isfinite(cast).all():
        raise UserError(
            f"a feature of magnitude {np.abs(rows).max():.3g} doesn't fit {dtype}: "
            f"set dtype to float32, or look at the weights if it isn't finite"
        )
    return cast


def _check(
    cache: RowCaches, runtime: Runtime, pixels: Pixels, splits: list[SplitRequest]
) -> tuple[int, float]:
    """Recomputes some cached rows; returns their number and their largest relative error.

    Takes one image of each block with all of its views, until there is a full batch of each size of
    crop.
    """
    batches: dict[int, tuple[list[bytes], list[np.ndarray]]] = defaultdict(lambda: ([], []))
    for request in splits:
        for start, stop in request.blocks():
            views, block = request.rows(start, stop)
            cached = cache.has(block.ravel()).reshape(block.shape)
            for row in np.flatnonzero(cached.any(axis=1))[:1]:
                image = pixels[request.positions[start + row]]
                for column in np.flatnonzero(cached[row]):
                    rendered = render_view(image, views[row][column])
                    keys, images = batches[rendered.shape[0]]
                    if len(keys) < runtime.batch_size:
                        keys.append(block[row, column])
                        images.append(rendered)
            if batches and all(len(keys) == runtime.batch_size for keys, _ in batches.values()):
                break
    largest_error = 0.0
    for keys, images in batches.values():
        recomputed = extract_array(runtime, np.stack(images))[:, : cache.width]
        stored = cache.get(np.array(keys, cache.key_dtype)).astype(np.float32)
        error = np.linalg.norm(stored - recomputed, axis=1) / (
            np.linalg.norm(recomputed, axis=1) + 1e-12
        )
        largest_error = max(largest_error, float(error.max()))
    return sum(len(keys) for keys, _ in batches.values()), largest_error
