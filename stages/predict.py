"""Applies a trained head to the cached features of tune, val and test: a score for every class."""

import argparse

from headstart.config import Params
from stages import parser, run


def predict(args: argparse.Namespace, _: Params) -> str:
    from headstart.heads.fitted_head import HEAD_FILE, load_head
    from headstart.store.features import open_features
    from headstart.store.predictions import Predictions, save_predictions

    head = load_head(args.model / HEAD_FILE)
    images = {}
    for split in ("tune", "val", "test"):
        path = args.features / f"{split}.h5"
        if split == "test" and not path.exists():
            continue
        with open_features(path, memory_limit=0) as features:
            logits = head.logits(features)
        predictions = Predictions(
            logits, features.views, features.examples, head.passes, head.parameters
        )
        save_predictions(args.predictions / path.name, predictions)
        images[split] = len(features.examples)
    counts = ", ".join(f"{count} {split}" for split, count in images.items())
    return f"{args.predictions.name}: scored {counts} images for {len(head.classes)} classes"


if __name__ == "__main__":
    run(predict, parser(__doc__, "features", "model", "predictions"))
