"""Images to features: a frozen pretrained network, and the cache of all that it ever computed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import nn

from headstart.api.image_inputs import gather_inputs
from headstart.api.square_images import SquareImages
from headstart.backbones.loading import load_backbone, load_module, take_layers
from headstart.config import STANDARD_ZOO, Backbone, Section, timm_architectures, validate_as
from headstart.config.backbones import LayerChoice, Pooling
from headstart.config.section import BatchSize, Channels, Device, Pixels, PositiveChannels
from headstart.core.cache_folders import cache_root
from headstart.core.errors import UserError, did_you_mean
from headstart.data.resizing import shrink_to_square
from headstart.extraction.cached_rows import CachedRows
from headstart.extraction.extraction_stats import ExtractionStats
from headstart.extraction.row_extractor import RowExtractor
from headstart.extraction.view_plan import SplitRequest, ViewPlan
from headstart.runtime.runtimes import check_runtime, start_runtime
from headstart.store.features import Features, merge_provenances

DEFAULT_CACHE = "default"


class Preprocessing(Section):
    """What a network takes, where it isn't what its weights ask for."""

    input_size: Pixels | None = None
    mean: Channels | None = None
    std: PositiveChannels | None = None


class ExtractorSettings(Section):
    """How an extractor computes, besides its backbone."""

    ten_crop: bool = False
    precision: Literal["float32", "bfloat16", "int8"] = "float32"
    dtype: Literal["float16", "float32"] = "float16"
    batch_size: BatchSize = 16
    device: Device = "auto"


@dataclass(frozen=True)
class ExtractedFeatures(Features):
    """Features that remember their extractor, so that a head trained on them can take images.

    `len` is the number of images; `features[rows]` selects images by positions, a slice or a mask.

    digests: [N, 32] uint8, of the images' pixels. numeric_labels: whether labels were given as
    whole numbers and not as text.
    """

    extractor: "Extractor"
    digests: np.ndarray
    numeric_labels: bool

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, rows: Any) -> "ExtractedFeatures":
        positions = np.arange(len(self))[rows].reshape(-1)
        return replace(
            self,
            values=self.values[positions],
            examples=self.examples[positions],
            digests=self.digests[positions],
        )

    def __repr__(self) -> str:
        images, views, width = self.values.shape
        return f"<{images} images x {views} views x {width} features of {self.extractor.name}>"


class Extractor:
    """A frozen pretrained network as a function from images to features.

    Every row that it computes is cached on disk under the content of the image's pixels, the view
    and the network's weights. A second call, also one after an interruption, computes what is
    missing and nothing else. The pipeline's `extract` stage uses the same cache.

    Images are cut to their central square, scaled to the side that the network takes, and
    normalized as its weights ask for.

    name: of the network, in progress bars and messages.
    """

    def __init__(
        self,
        backbone: str | Backbone | nn.Module,
        *,
        weights: Path | str | None = None,
        layers: Sequence[str] | None = None,
        pooling: Pooling | None = None,
        ten_crop: bool = False,
        input_size: int | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        precision: Literal["float32", "bfloat16", "int8"] = "float32",
        dtype: Literal["float16", "float32"] = "float16",
        batch_size: int = 16,
        device: Literal["auto", "cpu", "cuda"] = "auto",
        cache: Path | str | None = DEFAULT_CACHE,
    ) -> None:
        """Loads the network and puts it on its device.

        Args:
            backbone: a name of the standard zoo (`bundled`, `inception_v3`, `resnet50`, ...), the
                name of any architecture of timm, an entry as params.yaml's `zoo` has them, or a
                module from normalized images [B, 3, S, S] to features [B, D]; timm's become one
                by `num_classes=0`.
            weights: where the weights come from: `hub` downloads them once, `none` are random
                ones, or a path of a .safetensors file or of a timm checkpoint. None: what the zoo
                says, and for timm's names the hub.
            layers: names of modules, whose pooled outputs are the features, side by side and in
                one pass, as `zoo` has them; `headstart layers NAME` lists them. None: what the zoo
                says, else the network's own output.
            pooling: of the layers' outputs; None is `avg`. See `backbones.layers.LayerOutputs`.
            ten_crop: whether images are seen in ten crops, which evaluation averages.
            input_size, mean, std: the side in px that the network takes, and what normalizes
                pixels in [0, 1]. None: what its weights ask for; a module that isn't timm's has
                to be told.
            precision: what the network computes in.
            dtype: what features are kept as.
            batch_size: images computed at once; 256 and more on a GPU.
            device: `auto` is a GPU where there is one.
            cache: the cache's folder; `default` is $HEADSTART_CACHE or .cache/headstart, and with
                None nothing is kept.

        Raises:
            UserError: there is no such network, its weights can't be had, an argument is out of
                range, or the device can't compute so.
        """
        self.settings = validate_as(
            ExtractorSettings,
            {
                "ten_crop": ten_crop,
                "precision": precision,
                "dtype": dtype,
                "batch_size": batch_size,
                "device": device,
            },
            "Extractor",
        )
        preprocessing = {"input_size": input_size, "mean": mean, "std": std}
        preprocessing = validate_as(Preprocessing, preprocessing, "Extractor")
        check_runtime(device, precision)
        self.entry: Backbone | None = None
        if isinstance(backbone, nn.Module):
            if weights is not None:
                raise UserError("Extractor: a module has its weights; leave `weights` out")
            self.name = type(backbone).__name__
            loaded = load_module(backbone, **preprocessing.model_dump())
            chosen = validate_as(LayerChoice, {"layers": layers, "pooling": pooling}, "Extractor")
            if chosen.layers:
                loaded = take_layers(loaded, chosen.layers, chosen.pooling)
        else:
            changes = preprocessing.model_dump(exclude_none=True) | {"precision": precision}
            if weights is not None:
                changes["weights"] = str(weights)
            if layers is not None:
                changes["layers"] = list(layers)
            if pooling is not None:
                changes["pooling"] = pooling
            self.name = backbone if isinstance(backbone, str) else backbone.architecture
            self.entry = find_backbone(backbone, changes)
            loaded = load_backbone(self.entry)
        runtime = start_runtime(loaded, device, batch_size, precision)
        extractor = RowExtractor(self.name, runtime, loaded.provenance, layers=loaded.layers)
        self.rows = CachedRows(extractor, dtype)
        self.provenance = merge_provenances(self.rows.provenances)
        self.side = loaded.preprocessing.input_size
        self.cache = cache

    def __call__(
        self,
        images: Any,
        labels: Sequence[Any] | None = None,
        *,
        augmented_views: int | None = None,
    ) -> ExtractedFeatures:
        """Computes, or finds in the cache, the features of N images in V views each.

        Args:
            images: a list of paths, PIL images or arrays [H, W, 3] uint8, an array
                [N, H, W, 3] uint8, or a torch Dataset of (image, label) pairs.
            labels: one for each image, text or whole numbers; None for a Dataset, which brings its
                own, and for unlabeled images.
            augmented_views: for images to train on, the number of random views of each image
                beside the whole one; there are no ten crops then. None: the whole image, or the
                ten crops of an extractor with `ten_crop`.

        Returns:
            Features whose values are [N, V, D] of `dtype`.

        Raises:
            UserError: `images` or `labels` is none of these; images can't be read: all of them are
                named; or the network gives features that are of no use.
        """
        inputs = gather_inputs(images, labels)
        squares = SquareImages(inputs, lambda image: shrink_to_square(image, self.side), self.name)
        examples = inputs.examples()
        plan = ViewPlan(self.settings.ten_crop, augmented_views or 0)
        split = "val" if augmented_views is None else "train"
        request = SplitRequest(np.arange(len(inputs)), squares.digests, plan.views(split))
        root = None if self.cache is None else cache_folder(self.cache)
        values = self.rows(squares, request, root)
        return ExtractedFeatures(
            values=values,
            views=plan.names(split),
            examples=examples,
            provenance=self.provenance,
            extractor=self,
            digests=squares.digests,
            numeric_labels=inputs.numeric_labels,
        )

    def __repr__(self) -> str:
        return f"<Extractor {self.name}: {self.side} px to {self.width} features>"

    @property
    def width(self) -> int:
        """D, the length of a feature vector."""
        return self.rows.width

    @property
    def stats(self) -> ExtractionStats:
        """What the last call computed."""
        return self.rows.stats


def cache_folder(cache: Path | str) -> Path:
    """The folder of all caches that the argument `cache` means."""
    return cache_root() if cache == DEFAULT_CACHE else Path(cache)


def find_backbone(backbone: str | Backbone, changes: dict[str, Any]) -> Backbone:
    """The zoo's entry of that name, or else timm's architecture, with some keys changed.

    Raises:
        UserError: there is neither, and what was probably meant; or a changed key is wrong.
    """
    if isinstance(backbone, Backbone):
        return validate_as(Backbone, backbone.model_dump() | changes, "Extractor")
    known = {*STANDARD_ZOO, *timm_architectures()}
    if backbone not in STANDARD_ZOO and backbone.partition(".")[0] not in known:
        raise UserError(f"there is no backbone '{backbone}'; {did_you_mean(backbone, known)}")
    entry = STANDARD_ZOO.get(backbone, {"architecture": backbone, "weights": "hub"})
    return validate_as(Backbone, entry | changes, f"Extractor({backbone!r})")
