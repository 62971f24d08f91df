"""At which input side a backbone's features are best for a dataset, by cross-validation.

    uv run python -m benchmarks.input_side --backbone bundled --sides 64 96 128 160

Only the images of train and tune are used, so that val stays untouched by the choice. Images of one
group are in one fold. The differences are to the first side, on the same images.
"""

import argparse
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import headstart as hs
from headstart.config import Backbone, load_params
from headstart.data.manifest import load_manifest
from headstart.store.images import open_images

FOLDS = 5


def out_of_fold(
    features: np.ndarray, labels: np.ndarray, groups: list[str], c: float, seed: int
) -> np.ndarray:
    """Returns whether each image is classified correctly from the other folds: [N] bool."""
    correct = np.zeros(len(labels), bool)
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    for fitted, held_out in folds.split(features, labels, groups):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=1000))
        model.fit(features[fitted], labels[fitted])
        correct[held_out] = model.predict(features[held_out]) == labels[held_out]
    return correct


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data"), help="manifest and images.h5")
    parser.add_argument("--backbone", default="bundled", help="alias in params.yaml's zoo")
    parser.add_argument("--sides", type=int, nargs="+", default=[64, 96, 128, 160])
    parser.add_argument("--repetitions", type=int, default=5, help="with other folds")
    parser.add_argument("--c", type=float, default=0.01, help="inverse strength of L2")
    args = parser.parse_args()
    entry = load_params(Path("params.yaml")).zoo[args.backbone]
    assert isinstance(entry, Backbone)
    group_of = {e.id: e.group or e.id for e in load_manifest(args.data / "manifest.jsonl").entries}
    with open_images(args.data / "images.h5") as images:
        rows = np.flatnonzero(np.isin(images.splits, ["train", "tune"]))
        pixels, labels = images.pixels[rows], images.examples.labels[rows]
        groups = [group_of[images.examples.ids[row]] for row in rows]
    print(f"{args.backbone}: train and tune, n = {len(rows)}, {args.repetitions} repetitions")
    print("| side | top-1 | difference | its standard error |\n| --- | ---: | ---: | ---: |")
    first = None
    for side in args.sides:
        extractor = hs.Extractor(entry.model_copy(update={"input_size": side}))
        features = extractor(pixels).values[:, 0].astype(np.float32)
        found = np.mean(
            [
                out_of_fold(features, labels, groups, args.c, seed)
                for seed in range(args.repetitions)
            ],
            axis=0,
        )  # [N] share of the repetitions in which an image is classified correctly
        first = found if first is None else first
        difference = found - first
        error = difference.std() / np.sqrt(len(difference))
        print(
            f"| {side} | {found.mean():.1%} | {100 * difference.mean():+.1f} | {100 * error:.1f} |"
        )


if __name__ == "__main__":
    main()
