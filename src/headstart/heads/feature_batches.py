"""Batches of features on a device, shuffled for training, from memory or from a file."""

from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor

from headstart.heads.fitted_head import Standardization
from headstart.store.features import Features, FeaturesOnDisk

READ_BLOCK_IMAGES = 64
"""Images that are read from a file at once; first these blocks are shuffled, then their images."""

Batches = Iterator[tuple[Tensor, Tensor]]
"""Standardized features [B, D] float32 and labels [B] int64; the last batch may be smaller."""


class FeatureBatches(ABC):
    """The features of one split, as batches on a device.

    images: number of images. views: number of views per image. width: D.
    """

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
        """Yields one epoch: every image once, in random order, in a view drawn at random."""

    @abstractmethod
    def in_order(self, batch_size: int) -> Batches:
        """Yields the first view of every image, in order."""

    def standardize(self, values: Tensor) -> Tensor:
        """Returns features [B, D] as float32 on the device, standardized."""
        return values.to(self.device).float().sub_(self.mean).div_(self.std)


class InMemoryBatches(FeatureBatches):
    """Batches of features that are all held on the device.

    They keep their stored dtype, because float16 needs half the memory of float32.
    """

    def __init__(
        self, features: Features, standardization: Standardization, device: torch.device
    ) -> None:
        super().__init__(features, standardization, device)
        self.rows = torch.from_numpy(features.values).flatten(0, 1).to(device)  # [N * V, D]

    def shuffled(self, batch_size: int, order: torch.Generator) -> Batches:
        images = torch.randperm(self.images, generator=order)
        views = torch.randint(self.views, (self.images,), generator=order)
        return self._gather(images, views, batch_size)

    def in_order(self, batch_size: int) -> Batches:
        images = torch.arange(self.images)
        return self._gather(images, torch.zeros_like(images), batch_size)

    def _gather(self, images: Tensor, views: Tensor, batch_size: int) -> Batches:
        """Yields the features at `images` [n] and `views` [n]."""
        rows = (images * self.views + views).to(self.device).split(batch_size)
        for batch, batch_rows in zip(images.to(self.device).split(batch_size), rows, strict=True):
            yield self.standardize(self.rows.index_select(0, batch_rows)), self.labels[batch]


class StreamedBatches(FeatureBatches):
    """Batches of features that are read from their file.

    Shuffling reads random blocks into a pool of half the memory limit and draws batches from it.
    """

    def shuffled(self, batch_size: int, order: torch.Generator) -> Batches:
        values = self.values
        assert isinstance(values, FeaturesOnDisk)
        pool_size = values.memory_limit // 2 // (self.width * values.dtype.itemsize)
        blocks = torch.randperm(-(-self.images // READ_BLOCK_IMAGES), generator=order).tolist()
        features, images = [], []
        for position, block in enumerate(blocks):
            start = block * READ_BLOCK_IMAGES
            block_images = torch.arange(start, min(start + READ_BLOCK_IMAGES, self.images))
            views = torch.randint(self.views, (len(block_images),), generator=order)
            all_views = torch.from_numpy(values[start : start + READ_BLOCK_IMAGES])  # [R, V, D]
            features.append(all_views[torch.arange(len(block_images)), views])
            images.append(block_images)
            last = position == len(blocks) - 1
            count = sum(map(len, images))
            if not last and count < max(pool_size, batch_size):
                continue
            pool, pool_images = torch.cat(features), torch.cat(images)
            shuffled = torch.randperm(count, generator=order)
            # An incomplete batch waits for the next blocks.
            full = count if last else count // batch_size * batch_size
            for batch in shuffled[:full].split(batch_size):
                labels = self.labels[pool_images[batch].to(self.device)]
                yield self.standardize(pool[batch]), labels
            features, images = [pool[shuffled[full:]]], [pool_images[shuffled[full:]]]

    def in_order(self, batch_size: int) -> Batches:
        for start in range(0, self.images, batch_size):
            rows = slice(start, start + batch_size)
            first_view = torch.from_numpy(self.values[rows][:, 0])
            yield self.standardize(first_view), self.labels[rows]


def make_batches(
    features: Features, standardization: Standardization, device: torch.device
) -> FeatureBatches:
    """Returns batches of `features`, from memory or from their file, wherever they are."""
    kind = StreamedBatches if isinstance(features.values, FeaturesOnDisk) else InMemoryBatches
    return kind(features, standardization, device)
