"""A model as one torch module, from uint8 pixels to logits and calibrated probabilities.

It computes what `inference.trained_model` computes; the networks of its members lie in modules
called `networks`, which alone may be computed in fewer bits.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headstart.backbones.loading import LoadedBackbone, Preprocessing
from headstart.core.errors import UserError
from headstart.export.fixed_resize import FixedDownscale, FixedResize
from headstart.extraction.view_rendering import crop_box
from headstart.heads.fitted_head import FittedHead, load_head
from headstart.heads.head_models import MLP, Affine, Model, NearestNeighbors
from headstart.inference.central_crop import CentralCrop
from headstart.inference.network_runtime import network_preprocessing
from headstart.inference.trained_model import load_backbones, load_network
from headstart.packaging.model_description import HeadMember, ModelDescription
from headstart.runtime.normalized_network import NormalizedNetwork
from headstart.store.views import TEN_CROP, View
from headstart.training.image_transforms import InputSpec

MAX_BYTES = 1_800_000_000
"""Limit on the weights of a file; one of ONNX holds 2 GB at most."""

MAX_BANK_BYTES = 256 << 20
"""Limit on the training vectors of a k-NN head, with all of which each image is compared."""


class PredictionGraph(nn.Module):
    """From pixels [N, S, S, 3] uint8 to logits [N, C] and probabilities [N, C], float32.

    Each member gives logits [N, V, C]. Of one view of one member these are the logits; otherwise
    logits are the logarithms of averaged probabilities. The probabilities are calibrated.
    """

    def __init__(self, members: Sequence[nn.Module], average: str, temperature: float) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.average, self.temperature = average, temperature

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        x = pixels.permute(0, 3, 1, 2).float()
        members = torch.stack([member(x) for member in self.members], dim=1)  # [N, M, V, C]
        if self.average == "logits":
            members = members.mean(dim=1, keepdim=True)
        _, count, views, _ = members.shape
        if count * views == 1:
            logits = members[:, 0, 0]
        else:
            logits = members.softmax(-1).mean(dim=(1, 2)).clamp_min(TINY).log()
        return logits, (logits / self.temperature).softmax(-1)


TINY = torch.finfo(torch.float32).tiny


class BackboneGraph(nn.Module):
    """From images [N, 3, S, S] in [0, 255] to the features [N * V, D] of their views."""

    def __init__(self, loaded: LoadedBackbone, side: int, views: Sequence[View]) -> None:
        super().__init__()
        preprocessing = loaded.preprocessing
        self.boxes = [(*crop_box(view.crop, side), view.mirrored) for view in views]
        interpolation: Literal["bilinear", "bicubic"] = (
            "bicubic" if preprocessing.interpolation == "bicubic" else "bilinear"
        )
        sides = sorted({box[2] for box in self.boxes})
        self.resizes = nn.ModuleDict(
            {str(s): FixedResize(s, preprocessing.input_size, interpolation) for s in sides}
        )
        self.normalized = NormalizedPixels(preprocessing)
        self.networks = nn.ModuleList([loaded.network])

    def forward(self, x: Tensor) -> Tensor:
        views = []
        for top, left, side, mirrored in self.boxes:
            view = x[:, :, top : top + side, left : left + side]
            views.append(self.resizes[str(side)](view.flip(3) if mirrored else view))
        stacked = torch.stack(views, dim=1).flatten(0, 1)
        return compute(self.networks[0], self.normalized(stacked))


class NormalizedPixels(nn.Module):
    """The normalization of `runtime.normalized_network.NormalizedNetwork`."""

    scale: Tensor
    shift: Tensor

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        steps = NormalizedNetwork(nn.Identity(), preprocessing)
        self.register_buffer("scale", steps.scale)
        self.register_buffer("shift", steps.shift)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + self.shift


def compute(network: nn.Module, x: Tensor) -> Tensor:
    """Returns the network's output in float32; its weights say in what it computes."""
    weight = next(network.parameters(), None)
    return network(x if weight is None else x.to(weight.dtype)).float()


class HeadGraph(nn.Module):
    """A head on the features of its backbones: from images [N, 3, S, S] to logits [N, V, C]."""

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbones: Sequence[LoadedBackbone],
        head: FittedHead,
        dtype: str,
        side: int,
        views: Sequence[View],
    ) -> None:
        super().__init__()
        self.backbones = nn.ModuleList([BackboneGraph(own, side, views) for own in backbones])
        self.dtype = getattr(torch, dtype)
        self.views = len(views)
        self.register_buffer("mean", torch.from_numpy(head.standardization.mean))
        self.register_buffer("std", torch.from_numpy(head.standardization.std))
        self.head = head_module(head.model)

    def forward(self, x: Tensor) -> Tensor:
        features = torch.cat([backbone(x) for backbone in self.backbones], dim=1)
        # Cached features are rounded to this dtype.
        features = features.to(self.dtype).float()
        return self.head((features - self.mean) / self.std).unflatten(0, (-1, self.views))


class NetworkGraph(nn.Module):
    """A network that was trained end to end: from images [N, 3, S, S] to logits [N, 1, C]."""

    def __init__(self, network: nn.Module, spec: InputSpec, side: int) -> None:
        super().__init__()
        seen = min(side, spec.side)
        self.downscale = FixedDownscale(side, seen)
        self.normalized = NormalizedPixels(network_preprocessing(spec, seen))
        self.crop = CentralCrop(seen, spec)
        self.networks = nn.ModuleList([network])

    def forward(self, x: Tensor) -> Tensor:
        x = self.crop(self.normalized(self.downscale(x)))
        return compute(self.networks[0], x)[:, None]


class AffineGraph(nn.Module):
    """`head_models.Affine`."""

    def __init__(self, model: Affine) -> None:
        super().__init__()
        self.linear = nn.Linear(model.weight.shape[1], model.weight.shape[0])
        self.linear.weight.data.copy_(torch.from_numpy(model.weight))
        self.linear.bias.data.copy_(torch.from_numpy(model.bias))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


class MLPGraph(nn.Module):
    """`head_models.MLP`."""

    def __init__(self, model: MLP) -> None:
        super().__init__()
        self.layers = nn.ModuleList([AffineGraph(layer) for layer in model.layers])
        self.activation = {
            "relu": F.relu,
            "tanh": torch.tanh,
            "gelu": lambda x: F.gelu(x, approximate="tanh"),
        }[model.activation]

    def forward(self, x: Tensor) -> Tensor:
        *hidden, last = self.layers
        for layer in hidden:
            x = self.activation(layer(x))
        return last(x)


class NearestNeighborsGraph(nn.Module):
    """`head_models.NearestNeighbors`."""

    bank: Tensor
    one_hot: Tensor

    def __init__(self, model: NearestNeighbors) -> None:
        super().__init__()
        if model.bank.nbytes > MAX_BANK_BYTES:
            raise UserError(
                f"a k-NN head compares each image with {len(model.bank):,} training vectors "
                f"({model.bank.nbytes / 1e6:,.0f} MB), which would all be in the exported file "
                f"(the limit is {MAX_BANK_BYTES / 1e6:,.0f} MB); export a run of another head"
            )
        self.register_buffer("bank", torch.from_numpy(model.bank))
        labels = torch.from_numpy(model.labels)
        self.register_buffer("one_hot", F.one_hot(labels, model.classes).float())
        self.k, self.temperature = min(model.k, len(model.bank)), model.temperature
        self.floor = model.floor

    def forward(self, x: Tensor) -> Tensor:
        similarity = F.normalize(x, dim=1, eps=TINY) @ self.bank.T
        nearest, rows = similarity.topk(self.k, dim=1)
        votes = ((nearest - nearest[:, :1]) / self.temperature).exp()
        shares = (votes[:, :, None] * self.one_hot[rows]).sum(dim=1)
        return (shares / shares.sum(dim=1, keepdim=True)).clamp_min(self.floor).log()


def head_module(model: Model) -> nn.Module:
    """Returns a head's model as a torch module from features [B, D] to logits [B, C].

    Raises:
        UserError: it is a k-NN head with too many training vectors.
    """
    if isinstance(model, Affine):
        return AffineGraph(model)
    if isinstance(model, MLP):
        return MLPGraph(model)
    assert isinstance(model, NearestNeighbors)
    return NearestNeighborsGraph(model)


def build_graph(folder: Path, description: ModelDescription, half: bool) -> PredictionGraph:
    """Returns the model in `folder` as one module.

    half: whether the networks compute in float16.

    Raises:
        UserError: the weights can't be had, or would be too large for one file.
    """
    side = description.image.side
    views = [view for view in TEN_CROP if view.name in description.views]
    members: list[nn.Module] = []
    for member in description.members:
        if isinstance(member, HeadMember):
            backbones = [backbone for backbone, _ in load_backbones(folder, member).values()]
            head = load_head(folder / member.file)
            members.append(HeadGraph(backbones, head, member.dtype, side, views))
        else:
            network, spec = load_network(folder, member, len(description.classes))
            members.append(NetworkGraph(network, spec, side))
    graph = PredictionGraph(members, description.average, description.temperature).eval()
    if half:
        for module in graph.modules():
            networks = getattr(module, "networks", None)
            if isinstance(networks, nn.ModuleList):
                networks.to(torch.float16)
    size = sum(tensor.nbytes for tensor in graph.state_dict().values())
    if size > MAX_BYTES:
        raise UserError(
            f"{description.name} has {size / 1e9:.1f} GB of weights in {len(members)} members, and "
            f"one file holds {MAX_BYTES / 1e9:.1f} GB at most; export its members one by one, or "
            f"an ensemble of fewer (`choose: ranked`)"
        )
    return graph.requires_grad_(False)
