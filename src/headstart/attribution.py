"""Class activation maps: which places of an image speak for a class (Zhou et al., 2016, section 2).

They are exact for a linear classifier on the mean of feature maps f [D, h, w]: its logit
b_c + sum_k w_ck mean_xy f_k is the mean over all places of b_c + sum_k w_ck f_k(x, y).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from headstart.backbones.loading import load_backbone, resize_tensor
from headstart.config import Backbone
from headstart.core.errors import UserError
from headstart.heads.fitted_head import HEAD_FILE, load_head
from headstart.training.image_transforms import downscale
from headstart.training.saved_models import MODEL_FILE, load_model
from headstart.training.untrained_networks import build_untrained

BATCH = 64

TOLERANCE = 1e-3
"""Relative error up to which the network's pooled features are taken for the mean of its maps."""


class NotAvailableError(Exception):
    """A run has no exact map; the message says why, as the end of "not available, as …"."""


@dataclass(frozen=True)
class LinearClassifier:
    """A network that may end in mean pooling and one linear layer.

    network: one of timm's. transform: from images [B, S, S, 3] uint8 to its input. weight: [C, D].
    bias: [C]. crop: side of the central square that the network sees, relative to the image's.
    """

    network: nn.Module
    transform: Callable[[Tensor], Tensor]
    weight: Tensor
    bias: Tensor
    crop: float = 1.0


def load_linear_classifier(folder: Path, zoo: Mapping[str, Backbone]) -> LinearClassifier:
    """Loads the run that `train_head`, `finetune` or `train_scratch` wrote to `folder`.

    zoo: the entries that are no concatenations, by alias.

    Raises:
        NotAvailableError: the run doesn't end in one linear layer.
        UserError: its files, or its backbone, can't be loaded, or don't belong to each other.
    """
    if (folder / MODEL_FILE).exists():
        return _trained_network(folder / MODEL_FILE)
    return _head_on_backbone(folder, zoo)


def _head_on_backbone(folder: Path, zoo: Mapping[str, Backbone]) -> LinearClassifier:
    alias = folder.name.partition("-")[0]
    if alias not in zoo:
        raise NotAvailableError("its features are those of several backbones")
    head = load_head(folder / HEAD_FILE)
    affine = head.on_plain_features()
    if affine is None:
        raise NotAvailableError(f"a head of kind {head.model.kind} is not linear")
    loaded = load_backbone(zoo[alias])
    if not head.is_of(loaded.provenance):
        raise UserError(
            f"{folder.name} was trained on another backbone's features; run `dvc repro`"
        )
    given = loaded.preprocessing
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (given.mean, given.std))

    def transform(pixels: Tensor) -> Tensor:
        resized = resize_tensor(pixels.permute(0, 3, 1, 2), given)
        return (resized.float() / 255 - mean) / std

    weight, bias = torch.from_numpy(affine.weight), torch.from_numpy(affine.bias)
    return LinearClassifier(loaded.network, transform, weight, bias)


def _trained_network(path: Path) -> LinearClassifier:
    saved = load_model(path)
    network = build_untrained(saved.identity, len(saved.classes))
    network.load_state_dict(saved.weights)
    get_classifier = getattr(network, "get_classifier", None)
    classifier = get_classifier() if get_classifier else None
    if not isinstance(classifier, nn.Linear) or classifier.bias is None:
        raise NotAvailableError("its network doesn't end in one linear layer of timm's")
    spec = saved.input_spec

    def transform(pixels: Tensor) -> Tensor:
        return spec.eval_transform(downscale(pixels, spec.side, spec.interpolation))

    return LinearClassifier(
        network.eval(), transform, classifier.weight.detach(), classifier.bias.detach(), spec.crop
    )


@torch.inference_mode()
def activation_maps(
    model: LinearClassifier, pixels: np.ndarray, classes: np.ndarray, device: torch.device
) -> np.ndarray:
    """Returns the map of each image for each of its K classes: [N, K, h, w] float32.

    The mean of a map over its places is the class's logit.

    pixels: [N, S, S, 3] uint8. classes: [N, K] positions.

    Raises:
        NotAvailableError: the network doesn't pool by the mean.
    """
    network = model.network.to(device)
    weight, bias = model.weight.to(device), model.bias.to(device)
    maps = []
    for start in range(0, len(pixels), BATCH):
        rows = slice(start, start + BATCH)
        x = model.transform(torch.from_numpy(pixels[rows])).to(device)
        features = _feature_maps(network, x)  # [B, D, h, w]
        asked = torch.from_numpy(classes[rows]).to(device)
        kinds = torch.einsum("bkd,bdhw->bkhw", weight[asked], features)
        maps.append((kinds + bias[asked][:, :, None, None]).cpu().numpy())
    return np.concatenate(maps)


def _feature_maps(network: nn.Module, x: Tensor) -> Tensor:
    """The feature maps [B, D, h, w] whose mean the network's classifier gets."""
    try:
        features = network.forward_features(x)  # pyright: ignore[reportCallIssue]
        pooled = network.forward_head(features, pre_logits=True)  # pyright: ignore[reportCallIssue]
        mean = features.mean((2, 3))
        exact = pooled.shape == mean.shape and (
            torch.linalg.norm(pooled - mean) <= TOLERANCE * torch.linalg.norm(mean)
        )
    except (AttributeError, TypeError, IndexError):
        exact = False
    if not exact:
        raise NotAvailableError("its network doesn't average feature maps before the classifier")
    return features
