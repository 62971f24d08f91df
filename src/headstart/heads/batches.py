"""Training features as shuffled batches on a device."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from headstart.features import Features
from headstart.heads.head import Standardization


class Samples:
    """One split's features, standardised as they are read.

    They stay in memory as they were stored, half the bytes of float32 where that is float16.
    """

    def __init__(
        self, features: Features, standardization: Standardization, device: torch.device
    ) -> None:
        self.images, self.views, self.width = features.values.shape
        self.values = torch.from_numpy(features.values).flatten(0, 1).to(device)  # [N*V, D]
        self.labels = torch.from_numpy(features.examples.labels).to(device)  # [N]
        self.mean = torch.from_numpy(standardization.mean).to(device)
        self.std = torch.from_numpy(standardization.std).to(device)

    def shuffled(self, batch_size: int, order: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch: every image once, in one of its views drawn at random.

        Yields x [B, D] float32 and labels [B] int64; the last batch may be smaller.
        """
        images = torch.randperm(self.images, generator=order)
        views = torch.randint(self.views, (self.images,), generator=order)
        return self._read(images, views, batch_size)

    def whole(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The whole images (view 0) in order; yields as `shuffled` does."""
        images = torch.arange(self.images)
        return self._read(images, torch.zeros_like(images), batch_size)

    def _read(
        self, images: Tensor, views: Tensor, batch_size: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        images = images.to(self.labels.device)
        rows = images * self.views + views.to(images.device)
        for batch, of_batch in zip(images.split(batch_size), rows.split(batch_size), strict=True):
            x = self.values.index_select(0, of_batch).float()
            yield x.sub_(self.mean).div_(self.std), self.labels[batch]
