"""How well familiarity tells images of unknown classes from known ones: AUROC on val.

Some classes are held out: their images are neither in train nor in tune, and are the unknown ones
of val. `python -m benchmarks.familiarity data/features/<backbone>` reads cached features.
"""

import argparse
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from headstart.heads.familiarity import familiarity_of_features
from headstart.store.features import Features, load_features, select_images, whole_view


def measure(train: Features, tune: Features, val: Features, unknown: np.ndarray) -> np.ndarray:
    """Returns the familiarity of val's images [N] in percent; unknown: the classes held out."""
    train, tune = (
        select_images(split, np.flatnonzero(~np.isin(split.examples.labels, unknown)))
        for split in (train, tune)
    )
    return familiarity_of_features(train, tune).percentiles(whole_view(val).values[:, 0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("features", type=Path, help="folder of train.h5, tune.h5 and val.h5")
    parser.add_argument("--share", type=float, default=0.1, help="of the classes, held out")
    parser.add_argument("--choices", type=int, default=3, help="random choices of classes")
    parser.add_argument("--resamples", type=int, default=1000, help="of the bootstrap")
    args = parser.parse_args()
    train, tune, val = (load_features(args.features / f"{s}.h5") for s in ("train", "tune", "val"))
    classes = len(val.examples.classes)
    held_out = max(1, round(args.share * classes))
    print(
        f"{args.features.name}: {held_out} of {classes} classes held out, n = {len(val.examples)}"
    )
    print(
        "| choice | AUROC | unknown rejected at 5 % | known rejected at 5 % |\n| --- "
        + "| ---: " * 3
        + "|"
    )
    for choice in range(args.choices):
        rng = np.random.default_rng(choice)
        unknown = rng.choice(classes, held_out, replace=False)
        percent = measure(train, tune, val, unknown)
        known = ~np.isin(val.examples.labels, unknown)
        samples = (rng.integers(len(known), size=len(known)) for _ in range(args.resamples))
        found = [roc_auc_score(known[rows], percent[rows]) for rows in samples]
        low, high = np.quantile(found, [0.025, 0.975])
        print(
            f"| {choice} | {roc_auc_score(known, percent):.3f} [{low:.3f}, {high:.3f}] "
            f"| {(percent[~known] < 5).mean():.1%} | {(percent[known] < 5).mean():.1%} |"
        )


if __name__ == "__main__":
    main()
