"""The rows of one backbone for any images: computed once, and kept in its cache."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from headstart.extraction.extraction_stats import ExtractionStats
from headstart.extraction.row_caches import CacheFolders, RowCaches, row_provenances
from headstart.extraction.row_extractor import RowExtractor
from headstart.extraction.row_filling import Pixels, check_cache, fill_cache
from headstart.extraction.view_plan import SplitRequest


class CachedRows:
    """A function from images to rows of `dtype`, which computes what the cache lacks.

    provenances: as `row_provenances` returns them. stats: what the last call computed. writer: as
    in `FeatureCache`, where several processes compute at the same time.
    """

    def __init__(self, extractor: RowExtractor, dtype: str) -> None:
        self.extractor, self.dtype = extractor, dtype
        self.provenances = row_provenances(extractor)
        self.stats = ExtractionStats()
        self.writer = 0
        self._cache: RowCaches | None = None

    @property
    def width(self) -> int:
        """D, the length of a row."""
        return self.extractor.runtime.width

    def __call__(self, pixels: Pixels, request: SplitRequest, root: Path | None) -> np.ndarray:
        """Returns the rows [N, V, D] of the images and views of `request`.

        root: the folder of all caches; None keeps nothing.

        Raises:
            UserError: as `fill_cache`, or the cache can't be written to.
        """
        with self._open(root) as cache:
            self.stats = ExtractionStats()
            runtime, name = self.extractor.runtime, self.extractor.name
            check_cache(cache, runtime, pixels, [request], self.stats)
            fill_cache(cache, runtime, pixels, [request], name, counts=self.stats)
            keys = request.keys  # [N, V]
            return cache.get(keys.ravel()).reshape(*keys.shape, self.width)

    @contextmanager
    def _open(self, root: Path | None) -> Iterator[RowCaches]:
        """The cache, for this process alone to write to; a temporary one where nothing is kept."""
        if root is None:
            with (
                TemporaryDirectory(prefix="headstart-") as folder,
                CacheFolders.of(self.extractor, Path(folder), self.dtype).open() as cache,
            ):
                yield cache
            return
        folders = CacheFolders.of(self.extractor, root, self.dtype)
        with folders.open(writer=self.writer, earlier=self._cache) as cache:
            self._cache = cache
            try:
                yield cache
            except BaseException:
                self._cache = None  # it may not be what is on disk
                raise
