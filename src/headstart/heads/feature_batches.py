"""Training features as shuffled batches on a device, from memory or from their file."""

from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor

from headstart.heads.fitted_head import Standardization
from headstart.store.features import Features, FeaturesOnDisk

READ_ROWS = 64
"""Images that are read from a file in one piece; the pieces are shuffled, then what they hold."""

Batches = Iterator[tuple[Tensor, Tensor]]
"""x [B, D] float32, standardized, and labels [B] int64; the last batch may be smaller."""


class FeatureBatches(ABC):
    """One split on a device."""

    def __init__(
        self, features: Features, standardization: Standardization, device: torch.device
    ) -> None:
        self.values = features.values
        self.images, self.views, self.width = features.values.shape
        self.device = device
        self.labels = torch.from_numpy(features.examples.labels).to(device)  # [N]
        self.mean = torch.from_numpy(standardization.mean).to(device)
        self.std = torch.from_numpy(standardization.std).to(device)

    @abstractmethod
    def shuffled(self, batch_size: int, order: torch.Generator) -> Batches:
        """One epoch: every image once, in one of its views drawn at random."""

    @abstractmethod
    def whole(self, batch_size: int) -> Batches:
        """Every image's first view, in order."""

    def standardized(self, values: Tensor) -> Tensor:
        return values.to(self.device).float().sub_(self.mean).div_(self.std)


class InMemoryBatches(FeatureBatches):
    """All features on the device, as they were stored: float16 takes half of float32's bytes."""

    def __init__(
        self, features: Features, standardization: Standardization, device: torch.device
    ) -> None:
        super().__init__(features, standardization, device)
        self.rows = torch.from_numpy(features.values).flatten(0, 1).to(device)  # [N * V, D]

    def shuffled(self, batch_size: int, order: torch.Generator) -> Batches:
        images = torch.randperm(self.images, generator=order)
        views = torch.randint(self.views, (self.images,), generator=order)
        return self._gathered(images, views, batch_size)

    def whole(self, batch_size: int) -> Batches:
        images = torch.arange(self.images)
        return self._gathered(images, torch.zeros_like(images), batch_size)

    def _gathered(self, images: Tensor, views: Tensor, batch_size: int) -> Batches:
        rows = (images * self.views + views).to(self.device).split(batch_size)
        for batch, of_batch in zip(images.to(self.device).split(batch_size), rows, strict=True):
            yield self.standardized(self.rows.index_select(0, of_batch)), self.labels[batch]


class StreamedBatches(FeatureBatches):
    """Features that stay in their file; a random half of the memory limit is shuffled at a time."""

    def shuffled(self, batch_size: int, order: torch.Generator) -> Batches:
        values = self.values
        assert isinstance(values, FeaturesOnDisk)
        fitting = values.memory_limit // 2 // (self.width * values.dtype.itemsize)
        runs = torch.randperm(-(-self.images // READ_ROWS), generator=order).tolist()
        held, images = [], []
        for position, run in enumerate(runs):
            of_run = torch.arange(run * READ_ROWS, min(run * READ_ROWS + READ_ROWS, self.images))
            views = torch.randint(self.views, (len(of_run),), generator=order)
            read = torch.from_numpy(
                values[run * READ_ROWS : run * READ_ROWS + READ_ROWS]
            )  # [R, V, D]
            held.append(read[torch.arange(len(of_run)), views])
            images.append(of_run)
            last = position == len(runs) - 1
            count = sum(map(len, images))
            if not last and count < max(fitting, batch_size):
                continue
            pool, pool_images = torch.cat(held), torch.cat(images)
            shuffled = torch.randperm(count, generator=order)
            # What fills no batch waits for the next images.
            full = count if last else count // batch_size * batch_size
            for batch in shuffled[:full].split(batch_size):
                labels = self.labels[pool_images[batch].to(self.device)]
                yield self.standardized(pool[batch]), labels
            held, images = [pool[shuffled[full:]]], [pool_images[shuffled[full:]]]

    def whole(self, batch_size: int) -> Batches:
        for start in range(0, self.images, batch_size):
            rows = slice(start, start + batch_size)
            first = torch.from_numpy(self.values[rows][:, 0])
            yield self.standardized(first), self.labels[rows]


def make_batches(
    features: Features, standardization: Standardization, device: torch.device
) -> FeatureBatches:
    kind = StreamedBatches if isinstance(features.values, FeaturesOnDisk) else InMemoryBatches
    return kind(features, standardization, device)
