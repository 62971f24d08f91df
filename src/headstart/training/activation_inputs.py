"""Cached activations as the inputs of the part of a network that is trained on them."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from headstart.config import Augmentation
from headstart.extraction.trunk_activations import TrunkActivations
from headstart.store.images import Images


@dataclass(frozen=True)
class ActivationInputs:
    """An `InputTransform` that reads activations from the cache, one batch at a time.

    In memory there are only the images' positions [M] int64. In training each image is seen in a
    random one of its cached views, in evaluation in the whole view.
    """

    activations: TrunkActivations

    @property
    def shape(self) -> tuple[int, ...]:
        return self.activations.shape

    def read(self, images: Images, rows: np.ndarray) -> Tensor:
        """Returns `rows` [M] int64 themselves."""
        return torch.from_numpy(rows)

    def train_transform(self, batch: Tensor, augmentation: Augmentation) -> Tensor:
        """Returns the activations of a random view of each image: [B, *shape] float32.

        augmentation: without effect, because the views were rendered before.
        """
        return self._activations(batch, torch.randint(self.activations.keys.shape[1], batch.shape))

    def eval_transform(self, batch: Tensor) -> Tensor:
        """Returns the activations of the whole view of each image: [B, *shape] float32."""
        return self._activations(batch, torch.zeros(batch.shape, dtype=torch.int64))

    def _activations(self, batch: Tensor, views: Tensor) -> Tensor:
        rows = torch.from_numpy(self.activations.read(batch.cpu().numpy(), views.numpy()))
        x = rows.to(batch.device).float()
        return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x
