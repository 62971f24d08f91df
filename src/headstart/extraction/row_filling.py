"""Computes the rows that a cache lacks.

They pass through three steps that overlap: views are cropped from the stored images (in a thread),
the runtime computes their features, and the cache stores them in parts. A killed run loses only its
last part.
"""

import time
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from tqdm import tqdm

from headstart.core.errors import UserError
from headstart.core.thread_map import prefetch
from headstart.extraction.collapse_check import CollapseDetector, check_finite
from headstart.extraction.extraction_stats import ExtractionStats
from headstart.extraction.row_caches import RowCaches
from headstart.extraction.shares import SINGLE_PROCESS, Share
from headstart.extraction.view_plan import SplitRequest, WorkQueue, all_keys
from headstart.extraction.view_rendering import render_view
from headstart.runtime.runtimes import Future, Runtime, extract_array, pad_batch

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


def fill_cache(
    cache: RowCaches,
    runtime: Runtime,
    pixels: Pixels,
    requests: Sequence[SplitRequest],
    label: str,
    share: Share = SINGLE_PROCESS,
    counts: ExtractionStats | None = None,
) -> ExtractionStats:
    """Computes the rows of `requests` that `cache` lacks and that belong to this process's `share`.

    A process that computes all of them first reads the parts that hold the others, so that damaged
    ones are computed again; of several processes, that is done by whoever reads the rows.

    label: of the progress bar and in messages, the backbone's name. counts: the numbers are added
    to it; it is returned.

    Raises:
        UserError: a feature doesn't fit the cache's dtype; or the features have collapsed.
    """
    began = time.perf_counter()
    counts = ExtractionStats() if counts is None else counts
    keys = all_keys(requests)
    before = cache.dropped
    cache.borrow(keys)
    if share.world == 1:
        cache.verify(keys)
    counts.dropped += cache.dropped - before
    counts.wanted += len(keys)
    todo = WorkQueue(share.select(keys[~cache.has(keys)]))

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
        batches = prefetch(_batches(todo, pixels, requests, runtime.batch_size, counts))
        for batch_keys, batch, future in _submit_batches(runtime, batches, counts):
            with counts.timed("computing"):
                rows = future()[: len(batch_keys)]
            check_finite(label, rows)
            pending_rows.append(cast_features(rows, cache.dtype))
            collapse.check(batch, pending_rows[-1])
            pending_keys.extend(batch_keys)
            counts.computed += len(batch_keys)
            bar.update(len(batch_keys))
            if len(pending_keys) >= part_rows:
                write()
        if pending_keys:
            write()
    counts.seconds += time.perf_counter() - began
    if not counts.network_rate and counts.computed >= NETWORK_RATE_BATCHES * runtime.batch_size:
        counts.network_rate = _network_rate(runtime, np.asarray(pixels[:1]))
    return counts


def check_cache(
    cache: RowCaches,
    runtime: Runtime,
    pixels: Pixels,
    requests: Iterable[SplitRequest],
    counts: ExtractionStats,
    share: Share = SINGLE_PROCESS,
) -> bool:
    """Computes a few cached rows again; returns whether they are what is cached.

    If they differ, something has changed that the cache's provenance doesn't cover, and the whole
    cache is cleared. counts: numbers are added to it.

    Raises:
        UserError: cached rows differ while other processes use them.
    """
    before = cache.dropped
    checked, error = _recompute(cache, runtime, pixels, requests)
    counts.checked += checked
    counts.dropped += cache.dropped - before
    if error <= TOLERANCES[runtime.provenance["precision"]]:
        return True
    problem = f"cached rows differ from what is computed now (relative error {error:.2g})"
    if share.world > 1:
        raise UserError(f"{problem}: delete {cache} and run again")
    tqdm.write(f"{problem}: the cache of {len(cache)} rows is dropped")
    cache.clear()
    return False


def await_other_processes(cache: RowCaches, requests: Sequence[SplitRequest]) -> None:
    """Waits until the rows of `requests` that belong to other processes are cached."""
    announced = False
    keys = all_keys(requests)
    while not cache.has(keys).all():
        if not announced:
            tqdm.write("waiting for the rows of the other processes")
            announced = True
        time.sleep(0.2)
        cache.refresh()


def _network_rate(runtime: Runtime, images: np.ndarray) -> float:
    """Returns the rows per second of the network alone: of the faster of two batches."""
    full = pad_batch(images, runtime.batch_size)
    seconds = []
    for _ in range(2):
        began = time.perf_counter()
        runtime.submit(full)()
        seconds.append(time.perf_counter() - began)
    return runtime.batch_size / min(seconds)


def _batches(
    todo: WorkQueue,
    pixels: Pixels,
    requests: Iterable[SplitRequest],
    size: int,
    counts: ExtractionStats,
) -> Iterator[tuple[list[bytes], np.ndarray]]:
    """Yields the rows to compute as (keys, images [<= size, s, s, 3]) with one side s per batch."""
    open_batches: dict[int, tuple[list[bytes], list[np.ndarray]]] = defaultdict(lambda: ([], []))
    for request in requests:
        for start, stop in request.blocks():
            keys = request.keys[start:stop]
            claimed = todo.claim(keys)
            rows = np.flatnonzero(claimed.any(axis=1))
            if not len(rows):
                continue
            with counts.timed("reading"):
                images = pixels[request.positions[start:stop][rows]]
            for row, image in zip(rows, images, strict=True):
                views = request.views_of(start + int(row))
                for column in np.flatnonzero(claimed[row]):
                    with counts.timed("cropping"):
                        rendered = render_view(image, views[column])
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


def _recompute(
    cache: RowCaches, runtime: Runtime, pixels: Pixels, requests: Iterable[SplitRequest]
) -> tuple[int, float]:
    """Computes some cached rows again; returns their number and their largest relative error.

    Takes one image of each block with all of its views, until there is a full batch of each size of
    crop.
    """
    batches: dict[int, tuple[list[bytes], list[np.ndarray]]] = defaultdict(lambda: ([], []))
    for request in requests:
        for start, stop in request.blocks():
            block = request.keys_of(start, stop)
            rows = np.flatnonzero(cache.has(block.ravel()).reshape(block.shape).any(axis=1))[:1]
            cache.verify(block[rows].ravel())
            for row in rows.tolist():
                image, views = pixels[request.positions[start + row]], request.views_of(start + row)
                for column in np.flatnonzero(cache.has(block[row])):
                    rendered = render_view(image, views[column])
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
