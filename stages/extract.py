"""Images through one frozen backbone: a feature vector for every view of every image, cached."""

import argparse

from headstart.config import Backbone, Params
from stages import entry, parser, run


def extract(args: argparse.Namespace, params: Params) -> str:
    import os
    from collections.abc import Callable
    from functools import cache, partial

    from headstart.backbones.first_layer_filters import NO_FILTERS
    from headstart.core.cache_folders import cache_root
    from headstart.core.devices import resolve_device
    from headstart.core.torchrun import launch_processes
    from headstart.extraction.extraction_stats import ExtractionStats, merge_stats
    from headstart.extraction.pipeline import extract_features
    from headstart.extraction.precision_check import median_cosine
    from headstart.extraction.ray_workers import check_ray, divide, run_shares
    from headstart.extraction.row_extractor import (
        RowExtractor,
        check,
        layers_alongside,
        load_row_extractor,
    )
    from headstart.extraction.shares import Share
    from headstart.extraction.trunk_activations import check_trunks
    from headstart.extraction.view_plan import ViewPlan
    from headstart.store.filters import write_filters
    from headstart.store.images import image_shards, open_images

    batch, ray = Share.from_batch_system(), params.extract.launch == "ray"
    if ray:
        check_ray()
    else:
        launch_processes("stages.extract", params.extract.processes)
    share = Share.from_torchrun().within(batch)
    chosen = entry(params.backbones, "zoo", args.backbone)
    groups = (params.backbones[alias] for alias in params.extract.backbones)
    active = {name: backbone for group in groups for name, backbone in group.items()}
    check(active, params.extract)

    alongside = {name: layers_alongside(b, active.values()) for name, b in chosen.items()}

    filters = {}

    def start(name: str, backbone: Backbone) -> RowExtractor:
        extractor = load_row_extractor(name, backbone, params.extract, alongside[name])
        filters[name] = extractor.filters
        return extractor

    # Lazy: a concatenation's members are loaded one after another.
    members = [partial(start, name, backbone) for name, backbone in chosen.items()]
    shards = image_shards(args.images)
    plan = ViewPlan(params.extract.ten_crop, params.extract.augmented_views)

    # A worker of Ray may have another environment and another current folder.
    root, project = cache_root().absolute(), os.getcwd()  # noqa: PTH109

    def start_worker() -> Callable[[Share], tuple[list[ExtractionStats], dict]]:
        os.chdir(project)
        os.environ["HEADSTART_CACHE"] = str(root)
        kept = [cache(member) for member in members]
        return lambda share: (
            extract_features(shards, args.features, kept, plan, params.extract.dtype, share),
            filters,
        )

    rank = f" (process {share.rank} of {share.world})" if share.world > 1 else ""
    finetuned = {alias: params.single_backbones[alias] for alias in params.finetune.backbones}
    if finetuned:
        # Fine-tuning comes hours later; what is wrong with it should be known now.
        with open_images(args.images) as images:
            check_trunks(finetuned, images, params.finetune, params.extract)
    if ray:
        workers = params.extract.processes
        shares = divide(share, len(shards), workers)
        gpu = resolve_device(params.extract.device).type == "cuda"
        done = run_shares(start_worker, shares, workers, gpu, args.backbone)
        counts = [merge_stats(of) for of in zip(*(counts for counts, _ in done), strict=True)]
        filters |= done[0][1]
    else:
        counts = extract_features(shards, args.features, members, plan, params.extract.dtype, share)
    told = []
    for (name, backbone), count in zip(chosen.items(), counts, strict=True):
        cost = ""
        if backbone.precision != "float32" and count.computed and share.rank == 0:
            exact = backbone.model_copy(update={"precision": "float32"})
            ours, exactly = (start(name, one).runtime for one in (backbone, exact))
            with shards[0].open() as images:
                cosine = median_cosine(images, ours, exactly)
            cost = f"; {backbone.precision}, median cosine with float32 {cosine:.4f}"
        told.append(f"{name}{rank}: {count}{cost}")
    if share.rank == 0:
        own = filters.get(args.backbone, NO_FILTERS)  # only a concatenation's members have some
        write_filters(args.results / "filters" / "backbones" / f"{args.backbone}.npy", own)
    if batch.world > 1:
        told.append(
            f"share {batch.rank}/{batch.world} is done; when all are, `dvc repro` without "
            f"HEADSTART_SHARD checks that nothing is missing"
        )
    return "; ".join(told)


if __name__ == "__main__":
    run(extract, parser(__doc__, "images", "features", "results", backbone="alias in zoo"))
