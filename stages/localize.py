"""Trains localizers on a backbone's feature maps, and evaluates their boxes against baselines."""

import argparse

from headstart.config import Params
from stages import entry, parser, run


def localize(args: argparse.Namespace, params: Params) -> str:
    from headstart.localization.localizing import localize
    from headstart.store.features import open_features
    from headstart.store.images import open_images
    from headstart.store.localizations import (
        LOCALIZER,
        write_boxes,
        write_localizer_curves,
        write_pictures,
    )
    from headstart.store.run_metrics import write_metrics

    backbone = entry(params.single_backbones, "zoo", args.backbone)
    with (
        open_images(args.images) as images,
        open_features(args.features / "train.h5", memory_limit=0) as train,
        open_features(args.features / "tune.h5", memory_limit=0) as tune,
        open_features(args.features / "val.h5", memory_limit=0) as val,
    ):
        result = localize(
            images,
            {"train": train, "tune": tune, "val": val},
            backbone,
            params.localize,
            params.evaluate,
        )

    folder = args.results / "localization" / args.backbone
    write_metrics(folder / "metrics.json", result.metrics)
    write_boxes(folder / "boxes.tsv", result.boxes)
    write_localizer_curves(folder / "training.tsv", result.curves)
    write_pictures(folder / "pictures.h5", result.pictures)
    ious = ", ".join(
        f"{metrics['name']}: {metrics[LOCALIZER]['iou']:.3f} (n = {metrics['n']})"
        for metrics in result.metrics["classes"].values()
    )
    return f"{args.backbone}: mean IoU on val of {ious}"


if __name__ == "__main__":
    run(
        localize,
        parser(__doc__, "images", "features", "results", backbone="alias in zoo"),
    )
