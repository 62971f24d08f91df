"""Extraction: computes the requested rows that the cache lacks, then writes features files.

A row is the feature vector of one (image, view) pair; the cache stores rows. One shard of the
dataset is worked on at a time: its images, its part of the cache and its features.

Several processes share the work without communicating. Each has shards of its own; where there are
fewer shards than processes, a hash of a row's key assigns it to one of them. Whoever finds all rows
of a shard in the cache, when its own are done, writes the shard's features.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from headstart.core.cache_folders import cache_root
from headstart.core.errors import UserError
from headstart.extraction.extraction_stats import ExtractionStats
from headstart.extraction.feature_files import FeatureFiles, Requests
from headstart.extraction.row_caches import CacheFolders, RowCaches, row_provenances
from headstart.extraction.row_extractor import RowExtractor
from headstart.extraction.row_filling import check_cache, fill_cache
from headstart.extraction.shares import SINGLE_PROCESS, Share
from headstart.extraction.view_plan import ViewPlan, all_keys, requests_by_split
from headstart.store.examples import Split
from headstart.store.features import merge_provenances
from headstart.store.images import Images, ImageShard
from headstart.store.shards import shard_name

SEARCHED_KEYS = 10_000_000
"""Rows that are looked for at once in the folders of other shards: 160 MB of keys."""

Outdated = Mapping[int, Sequence[Split]]
"""Splits that are worked on, by the number of the shard."""


def extract_features(
    shards: Sequence[ImageShard],
    folder: Path,
    members: Sequence[Callable[[], RowExtractor]],
    plan: ViewPlan,
    dtype: str,
    share: Share = SINGLE_PROCESS,
) -> list[ExtractionStats]:
    """Writes `<folder>/<split>.h5`, as `store.shards` says, for every split: features [N, V, D].

    members: one backbone, or several whose features are concatenated, so that D is the sum of
    theirs; the next one is loaded once the rows of the one before are complete. plan: the views of
    each split. dtype: of the stored features. share: of this process.

    Raises:
        UserError: a feature doesn't fit `dtype`; features have collapsed; two members are the same
            backbone.
    """
    provenances: list[dict[str, Any]] = []
    caches: list[CacheFolders] = []
    counts: list[ExtractionStats] = []
    sound = True
    for load in members:
        member = load()
        own = row_provenances(member)
        if any(provenance in provenances for provenance in own):
            raise UserError(f"'{member.name}' is the same backbone as another one beside it")
        provenances += own
        caches.append(CacheFolders.of(member, cache_root(), dtype))
        work = MemberWork(shards, member, caches, plan, share)
        sound &= work.check()
        if len(caches) < len(members):
            work.fill()
        else:
            provenance = merge_provenances(provenances)
            work.write(FeatureFiles(folder, len(shards), plan, provenance, dtype), trusted=sound)
        counts.append(work.stats)
    return counts


class MemberWork:
    """A process's work with one member of an extraction, shard by shard.

    caches: of this member, the last one, and of those before it. share: of this process. stats: of
    what was done.
    """

    def __init__(
        self,
        shards: Sequence[ImageShard],
        member: RowExtractor,
        caches: Sequence[CacheFolders],
        plan: ViewPlan,
        share: Share,
    ) -> None:
        self.shards, self.member, self.caches, self.plan = shards, member, caches, plan
        self.own = share.shards(len(shards))
        self.share, self.rows = share, share.of_shard(len(shards))
        self.stats = ExtractionStats()

    def check(self) -> bool:
        """Computes a few cached rows of the first shard again; see `check_cache`."""
        first = self.own[0]
        with self._images(first) as (images, requests), self._cache(first) as cache:
            pixels, runtime = images.pixels, self.member.runtime
            return check_cache(cache, runtime, pixels, requests.values(), self.stats, self.share)

    def fill(self) -> None:
        """Computes the rows that the cache lacks."""
        for number in self._searched({n: list(self.shards[n].contents) for n in self.own}):
            with self._images(number) as (images, requests), self._cache(number) as cache:
                self._fill(number, images, requests, cache, self.rows)

    def write(self, files: FeatureFiles, trusted: bool) -> None:
        """Computes the rows that the cache lacks, and writes the features of complete shards.

        trusted: whether files that were made from the same images and backbones stay.
        """
        files.remove_others(self.shards[self.own[0]].contents, alone=self.share.world == 1)
        outdated = {}
        for number in self.own:
            contents = self.shards[number].contents
            splits = files.outdated(contents, number) if trusted else list(contents)
            self.stats.wanted += sum(
                content.images * len(self.plan.names(split))
                for split, content in contents.items()
                if split not in splits
            )
            if splits:
                outdated[number] = splits
        for number in self._searched(outdated):
            with self._images(number) as (images, requests), ExitStack() as opened:
                wanted = {split: requests[split] for split in outdated[number]}
                # In one order, so that two processes don't wait for each other.
                caches = [opened.enter_context(self._cache(number, c)) for c in self.caches]
                self._fill(number, images, wanted, caches[-1], self.rows)
                if self._is_complete(number, images, wanted, caches):
                    contents = self.shards[number].contents
                    files.write(images, contents, wanted, number, caches)

    def _searched(self, outdated: Outdated) -> Iterator[int]:
        """Yields the shards; looks for the rows of many of them in other shards' folders before.

        A shard by itself would read the indices of all other shards.
        """
        numbers, searched = list(outdated), 0
        for position, number in enumerate(numbers):
            if position == searched:
                searched += self._search(numbers[position:], outdated)
            yield number

    def _search(self, numbers: Sequence[int], outdated: Outdated) -> int:
        """Looks for the missing rows of the first of the shards `numbers`, `SEARCHED_KEYS` or so;
        returns of how many shards."""
        if len(numbers) == 1 or not any(folders.has_parts for folders in self.caches):
            return len(numbers)
        missing: list[list[np.ndarray]] = [[] for _ in self.caches]
        count = shards = 0
        for number in numbers:
            if count >= SEARCHED_KEYS:
                break
            with self._images(number) as (_, requests):
                keys = all_keys(requests[split] for split in outdated[number])
            for own, folders in zip(missing, self.caches, strict=True):
                with self._cache(number, folders) as cache:
                    own.append(keys[~cache.has(keys)])
                    count += len(own[-1])
            shards += 1
        for own, folders in zip(missing, self.caches, strict=True):
            with self._cache(numbers[0], folders) as cache:
                cache.search(np.concatenate(own))
        return shards

    def _fill(
        self, number: int, images: Images, requests: Requests, cache: RowCaches, rows: Share
    ) -> None:
        label = f"{self.member.name} {shard_name(number, len(self.shards))}".rstrip()
        of = list(requests.values())
        fill_cache(cache, self.member.runtime, images.pixels, of, label, rows, self.stats)

    def _is_complete(
        self, number: int, images: Images, requests: Requests, caches: Sequence[RowCaches]
    ) -> bool:
        """Returns whether all rows are cached, those that other processes compute too."""
        keys = all_keys(requests.values())
        for cache in caches:
            cache.refresh()
            cache.borrow(keys)
            if not cache.has(keys).all():
                return False
        if self.rows.world > 1:
            # Rows of other processes whose parts have been damaged since.
            caches[-1].verify(keys)
            missing = ~caches[-1].has(keys)
            if missing.any():
                self._fill(number, images, requests, caches[-1], SINGLE_PROCESS)
        return True

    @contextmanager
    def _images(self, number: int) -> Iterator[tuple[Images, Requests]]:
        with self.shards[number].open() as images:
            yield images, requests_by_split(images, self.plan)

    def _cache(
        self, number: int, folders: CacheFolders | None = None
    ) -> AbstractContextManager[RowCaches]:
        name = shard_name(number, len(self.shards))
        return (folders or self.caches[-1]).open(name, self.rows.rank)
