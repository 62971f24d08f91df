"""What class weights and `choose_by` do on long-tailed data, on Tiny ImageNet: docs/imbalance.md.

    uv run python -m benchmarks.imbalance tiny-imagenet-200.zip mobilenetv2.safetensors

Each of 20 classes has 5 % fewer images than the one before it, down to a twentieth, in train, in
tune and in val alike (Cui et al., 2019, with a factor of 20). All images are Tiny ImageNet's
training images: 500 of the first class, 25 of the last; half of each are val's, a tenth tune's.
"""

import argparse
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import numpy as np
from PIL import Image

import headstart as hs
from headstart.config import Backbone

CLASSES, MOST, FACTOR = 20, 500, 20

METRICS = ("top1", "balanced_accuracy", "macro_f1", "auroc")


def read_images(archive: Path, rng: np.random.Generator) -> dict[str, dict[str, list[Image.Image]]]:
    """Returns the images of each class for train, tune and val."""
    parts: dict[str, dict[str, list[Image.Image]]] = {"train": {}, "tune": {}, "val": {}}
    with ZipFile(archive) as opened:
        names = [name for name in opened.namelist() if "/train/" in name and name.endswith("JPEG")]
        by_class: dict[str, list[str]] = {}
        for name in sorted(names):
            by_class.setdefault(name.split("/")[2], []).append(name)
        for rank, label in enumerate(rng.permutation(sorted(by_class))[:CLASSES]):
            count = round(MOST * FACTOR ** (-rank / (CLASSES - 1)))
            drawn = rng.permutation(by_class[label])[:count]
            held_out, tuned = count // 2, max(1, count // 10)
            for part, chosen in (
                ("val", drawn[:held_out]),
                ("tune", drawn[held_out : held_out + tuned]),
                ("train", drawn[held_out + tuned :]),
            ):
                images = [Image.open(BytesIO(opened.read(name))).convert("RGB") for name in chosen]
                parts[part][label] = images
    return parts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", type=Path)
    parser.add_argument("weights", type=Path, help="of timm's mobilenetv2_100")
    args = parser.parse_args()
    backbone = Backbone(
        architecture="mobilenetv2_100",
        weights=str(args.weights),
        model_args={"pad_type": "same"},
        input_size=96,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
    )
    extract = hs.Extractor(backbone)
    parts = {}
    for part, by_class in read_images(args.archive, np.random.default_rng(0)).items():
        labels = [label for label, images in by_class.items() for _ in images]
        parts[part] = extract([image for images in by_class.values() for image in images], labels)
    train, tune, val = parts["train"], parts["tune"], parts["val"]
    print(f"{len(train)} train, {len(tune)} tune, {len(val)} val images")
    print(" | ".join(("head", "class_weights", "choose_by", *METRICS)))
    for weights in ("none", "balanced"):
        heads = {
            "linear, keep: best": hs.LinearHead(class_weights=weights, keep="best"),
            "logistic regression": hs.LogisticRegressionHead(class_weights=weights),
            "ridge": hs.RidgeHead(class_weights=weights),
            "lda": hs.LDAHead(class_weights=weights),
        }
        for name, head in heads.items():
            for choose_by in ("accuracy", "balanced_accuracy", "macro_f1", "auroc"):
                metrics = head.fit(train, tune, choose_by=choose_by).evaluate(val).metrics
                cells = (
                    f"{100 * v:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
                    for v, low, high in (metrics[name] for name in METRICS)
                )
                print(" | ".join((name, weights, choose_by, *cells)), flush=True)


if __name__ == "__main__":
    main()
