"""What each way to encode the embedded flowers costs in bytes and in accuracy.

    uv run python -m benchmarks.flower_quality flower_photos-500.zip

Each way encodes the 500 photographs anew; the bundled backbone's features of them, at several input
sides, are classified by logistic regression (C = 0.01, standardized) in five-fold cross-validation
that keeps an author's photographs together, three times with other folds. A difference is paired
with the same photographs, and the same folds, before they were encoded.
"""

import argparse
import csv
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import headstart as hs
from headstart.core.thread_map import thread_map
from headstart.data.decoding import convert, decode
from scripts.embed_flowers import encode, read_source, to_small_srgb

WAYS = [("WEBP", 50), ("WEBP", 60), ("WEBP", 70), ("JPEG", 50)]
REPETITIONS = 3


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("source", type=Path)
    arguments.add_argument("--sides", type=int, nargs="+", default=[64, 128])
    arguments.add_argument("--backbone", default="bundled")
    arguments.add_argument("--weights")
    args = arguments.parse_args()
    photographs, texts = read_source(args.source)
    rows = csv.DictReader(texts["ATTRIBUTION.tsv"].splitlines(), delimiter="\t")
    author_of = {row["file"]: row["author"] for row in rows}
    classes = [name.split("/")[0] for name in photographs]
    authors = [author_of[name] for name in photographs]

    print("| files | MB | " + " | ".join(f"{side} px | difference" for side in args.sides) + " |")
    print("| --- | ---: |" + " ---: | ---: |" * len(args.sides))
    with TemporaryDirectory() as cache:
        sizes: dict[str, Any] = {"weights": args.weights, "cache": cache}
        extractors = [hs.Extractor(args.backbone, input_size=s, **sizes) for s in args.sides]

        def right(images: list[np.ndarray]) -> list[np.ndarray]:
            return [
                are_right(extractor(images).values[:, 0], classes, authors)
                for extractor in extractors
            ]

        small = list(thread_map(to_small_srgb, list(photographs.values()), "scaling"))
        exact = right([convert(image) for image in small])
        cells = [f"{100 * of_side.mean():.1f} % | " for of_side in exact]
        print(f"| not encoded | | {' | '.join(cells)} |", flush=True)
        for format_, quality in WAYS:
            files = list(
                thread_map(lambda i, f=format_, q=quality: encode(i, f, q), small, "encoding")
            )
            found = right([decode(file, 10**6) for file in files])
            cells = [
                f"{100 * of_side.mean():.1f} % | {difference(of_side, before)}"
                for of_side, before in zip(found, exact, strict=True)
            ]
            megabytes = sum(map(len, files)) / 1e6
            print(f"| {format_} {quality} | {megabytes:.2f} | {' | '.join(cells)} |", flush=True)


def are_right(features: np.ndarray, classes: Iterable[str], authors: Iterable[str]) -> np.ndarray:
    """Returns [N], the share of repetitions in which each photograph was classified correctly."""
    truth, groups = np.array(list(classes)), np.array(list(authors))
    # PCA keeps all dimensions that the rows span, so it only makes the regression faster.
    model = make_pipeline(StandardScaler(), PCA(), LogisticRegression(C=0.01, max_iter=1000))
    found = [
        cross_val_predict(
            model,
            features.astype(np.float32),
            truth,
            groups=groups,
            cv=StratifiedGroupKFold(5, shuffle=True, random_state=seed),
        )
        for seed in range(REPETITIONS)
    ]
    return (np.array(found) == truth).mean(axis=0)


def difference(found: np.ndarray, exact: np.ndarray) -> str:
    """Returns the mean paired difference in points, with its standard error."""
    points = 100 * (found - exact)
    return f"{points.mean():+.1f} ± {points.std(ddof=1) / len(points) ** 0.5:.1f}"


if __name__ == "__main__":
    main()
