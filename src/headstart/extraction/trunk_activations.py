"""Activations of the part of a network that fine-tuning doesn't train, computed once for each view.

They are cached as features are: rows of the same views, computed by the same runtimes. Only the
network ends earlier, and its output isn't pooled.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from math import prod

import numpy as np
from torch import nn
from tqdm import tqdm

from headstart import config
from headstart.backbones.loading import LoadedBackbone
from headstart.backbones.network_splitting import SplitNetwork, split_untrained
from headstart.core.cache_folders import cache_root
from headstart.core.errors import UserError
from headstart.core.weight_digests import update_digest
from headstart.extraction.extraction_stats import ExtractionStats
from headstart.extraction.row_caches import CacheFolders, RowCaches, row_provenances
from headstart.extraction.row_extractor import RowExtractor
from headstart.extraction.row_filling import await_other_processes, check_cache, fill_cache
from headstart.extraction.shares import Share
from headstart.extraction.view_plan import ViewPlan, requests_by_split
from headstart.runtime.runtimes import start_runtime
from headstart.store.images import Images


@dataclass(frozen=True)
class TrunkActivations:
    """The cached activations of all stored images.

    cache: a row for each view of each image. keys: [N, V] S16, of the rows by the images' positions
    and views; the whole view comes first, and stands in all columns of an image without others.
    shape: of one row. provenance: plain JSON that determines the activations.
    """

    cache: RowCaches
    keys: np.ndarray
    shape: tuple[int, ...]
    provenance: dict

    def read(self, positions: np.ndarray, views: np.ndarray) -> np.ndarray:
        """Returns activations [B, *shape] in the cache's dtype.

        positions: [B], of images in images.h5. views: [B], less than V.
        """
        return self.cache.get(self.keys[positions, views]).reshape(-1, *self.shape)


def check_trunks(
    zoo: Mapping[str, config.Backbone],
    images: Images,
    finetune: config.Finetune,
    extract: config.Extract,
) -> None:
    """Checks within seconds, without weights, that a part of each backbone can be fine-tuned.

    Raises:
        UserError: as `split_network` and `check_trunk_size`; one line per backbone.
    """
    if not finetune.has_trunk:
        return
    problems = []
    for name, backbone in zoo.items():
        try:
            split = split_untrained(backbone, finetune.trainable_from, finetune.trainable_only)
            check_trunk_size(split.shape, images, finetune, extract)
        except UserError as error:
            problems.append(f"{name}: {error}")
    if problems:
        raise UserError("\n".join(problems))


def check_trunk_size(
    shape: tuple[int, ...], images: Images, finetune: config.Finetune, extract: config.Extract
) -> None:
    """Checks that the activations stay below `finetune.trunk_limit`.

    shape: of an image's activations.

    Raises:
        UserError: they don't; the message says how much they take.
    """
    rows = len(images) + finetune.augmented_views * len(images.rows("train"))
    row_bytes = prod(shape) * np.dtype(extract.dtype).itemsize
    if rows * row_bytes > finetune.trunk_limit:
        values = " x ".join(map(str, shape))
        raise UserError(
            f"finetune.trunk_limit: the activations before the trained part of the network would "
            f"take {rows * row_bytes / 1e9:,.3g} GB ({rows:,} views of {values} values in "
            f"{extract.dtype}), and the limit is {finetune.trunk_limit / 1e9:,.3g} GB; raise it, "
            f"lower finetune.augmented_views, or train from a later module on"
        )


def cache_activations(
    images: Images,
    split: SplitNetwork,
    backbone: LoadedBackbone,
    precision: str,
    finetune: config.Finetune,
    extract: config.Extract,
    label: str,
) -> TrunkActivations:
    """Computes the activations that the cache lacks, and returns all of them.

    Several processes that torchrun started share the work. precision: as in the backbone's entry of
    zoo; int8 becomes float32, because the saved network computes without it. label: of the progress
    bar and in messages.

    Raises:
        UserError: as `check_trunk_size`, `start_runtime` and `fill_cache`.
    """
    check_trunk_size(split.shape, images, finetune, extract)
    digest = sha256(split.trunk.code.encode())
    update_digest(digest, split.trunk)
    trunk = LoadedBackbone(
        nn.Sequential(split.trunk, nn.Flatten()).eval(),
        backbone.preprocessing,
        # Its own weights decide, not those of the part that is trained.
        backbone.provenance | {"weights": digest.hexdigest(), "output": "activations"},
    )
    precision = "float32" if precision == "int8" else precision
    runtime = start_runtime(trunk, finetune.device, extract.batch_size, precision)
    extractor = RowExtractor(label, runtime, trunk.provenance)
    requests = requests_by_split(images, ViewPlan(False, finetune.augmented_views))
    wanted, share, stats = list(requests.values()), Share.from_torchrun(), ExtractionStats()
    folders = CacheFolders.of(extractor, cache_root(), extract.dtype)
    with folders.open(writer=share.rank) as cache:
        check_cache(cache, runtime, images.pixels, wanted, stats, share)
        fill_cache(cache, runtime, images.pixels, wanted, label, share, stats)
        await_other_processes(cache, wanted)
    if share.rank == 0:
        tqdm.write(f"{label}: {stats}")
    keys = np.empty((len(images), 1 + finetune.augmented_views), cache.key_dtype)
    for request in requests.values():
        keys[request.positions] = request.keys
    [provenance] = row_provenances(extractor)
    return TrunkActivations(cache, keys, split.shape, provenance)
