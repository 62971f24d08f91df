"""Extraction compared with other tools, from JPEG files to features in an HDF5 file.

    uv run python -m benchmarks.extract --dataset tiny-imagenet-200.zip
        [--thingsvision PYTHON]   # the interpreter of an environment with thingsvision installed

Random weights, float32, on the GPU if there is one. The time to import, load and compile is left
out for all of them; the time to decode, resize, compute and write is included.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import timm
import torch
from PIL import Image
from timm.data.config import resolve_model_data_config
from timm.data.dataset import ImageDataset
from timm.data.loader import create_loader
from timm.data.readers.reader_image_folder import ReaderImageFolder
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.timing import alternate, machine, table
from headstart import config
from headstart.backbones.loading import load_backbone
from headstart.data import datasets
from headstart.data.manifest import save_manifest
from headstart.data.preparation import prepare_dataset
from headstart.data.resizing import write_images
from headstart.extraction.extraction_stats import ExtractionStats
from headstart.extraction.pipeline import extract_features
from headstart.extraction.row_extractor import RowExtractor
from headstart.extraction.view_plan import ViewPlan
from headstart.runtime.runtimes import start_runtime
from headstart.store.examples import SPLITS
from headstart.store.images import image_shards

MODELS = {"inception_v3": 299, "resnet50": 224}
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
BATCH = 32 if DEVICE.type == "cpu" else 256

THINGSVISION = """
import sys, time, json, warnings
warnings.simplefilter("ignore")
from thingsvision import get_extractor
from thingsvision.utils.data import ImageDataset, DataLoader
name, size, folder, out, device, batch = sys.argv[1:7]
extractor = get_extractor(model_name=name, source="timm", device=device, pretrained=False)
began = time.perf_counter()
data = ImageDataset(root=folder, out_path=out, backend=extractor.get_backend(),
                    transforms=extractor.get_transformations(int(size), int(size)))
batches = DataLoader(dataset=data, batch_size=int(batch), backend=extractor.get_backend())
features = extractor.extract_features(batches=batches, module_name="global_pool",
                                      flatten_acts=True)
import h5py
with h5py.File(out + "/features.h5", "w") as file:
    file["features"] = features
print(json.dumps({"seconds": time.perf_counter() - began, "shape": features.shape}))
"""


def naive(name: str, size: int, folder: Path, out: Path) -> Callable[[], float]:
    """The loop of a tutorial: PIL images become a tensor, which goes through the model."""
    model = timm.create_model(name, num_classes=0).eval().to(DEVICE)
    config = resolve_model_data_config(model)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (config["mean"], config["std"]))

    def run() -> float:
        began = time.perf_counter()
        files = sorted(folder.rglob("*.JPEG"))
        features = []
        with torch.no_grad():
            for start in range(0, len(files), BATCH):
                batch = []
                for file in files[start : start + BATCH]:
                    image = (
                        Image.open(file)
                        .convert("RGB")
                        .resize((size, size), Image.Resampling.BILINEAR)
                    )
                    batch.append(
                        (torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255 - mean) / std
                    )
                features.append(model(torch.stack(batch).to(DEVICE)).cpu().numpy())
        write_features(out / "naive.h5", features)
        return time.perf_counter() - began

    return run


def write_features(path: Path, features: list[np.ndarray]) -> None:
    with h5py.File(path, "w") as file:
        file["features"] = np.concatenate(features)


def timm_inference(
    name: str, size: int, folder: Path, out: Path, channels_last: bool
) -> Callable[[], float]:
    """The parts of timm's inference.py: its dataset, its loader with two workers, its model."""
    model = timm.create_model(name, num_classes=0).eval().to(DEVICE)
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
    config = resolve_model_data_config(model)

    def run() -> float:
        began = time.perf_counter()
        dataset = ImageDataset(str(folder), reader=ReaderImageFolder(str(folder)))
        loader = create_loader(
            dataset,
            batch_size=BATCH,
            use_prefetcher=False,
            num_workers=2,
            device=DEVICE,
            input_size=(3, size, size),
            interpolation="bilinear",
            crop_pct=1.0,
            mean=config["mean"],
            std=config["std"],
        )
        features = []
        with torch.inference_mode():
            for batch, _ in loader:
                if channels_last:
                    batch = batch.contiguous(memory_format=torch.channels_last)
                features.append(model(batch.to(DEVICE)).cpu().numpy())
        write_features(out / "timm.h5", features)
        return time.perf_counter() - began

    return run


def thingsvision(
    python: Path, name: str, size: int, folder: Path, out: Path
) -> Callable[[], float]:
    def run() -> float:
        printed = subprocess.run(
            [python, "-c", THINGSVISION, name, str(size), folder, out, DEVICE.type, str(BATCH)],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        return json.loads(printed.splitlines()[-1])["seconds"]

    return run


def ours(
    name: str, size: int, folder: Path, out: Path, counts: list[ExtractionStats]
) -> Callable[[], float]:
    """The stages prepare, resize and extract, with an empty cache in each round."""
    described = config.Backbone(
        architecture=name, weights="none", input_size=size, interpolation="bilinear"
    )
    loaded = load_backbone(described)
    started = start_runtime(loaded, "auto", 16 if DEVICE.type == "cpu" else 256)
    section = datasets.ImageFolder(path=folder)
    checks = config.Prepare(
        tune_fraction=0.2,
        seed=0,
        on_bad_image="stop",
        max_pixels=10**8,
        exclude=Path("data/excluded.tsv"),
    )

    def run() -> float:
        with tempfile.TemporaryDirectory() as cache:
            os.environ["HEADSTART_CACHE"] = cache
            began = time.perf_counter()
            dataset = section.load()
            manifest = prepare_dataset(dataset, checks).manifest
            images, listed = out / "images.h5", out / "manifest.jsonl"
            save_manifest(listed, manifest)
            # In each round anew, though they haven't changed.
            images.unlink(missing_ok=True)
            write_images(images, listed, dataset.read, 299, "crop", 10**8)
            member = RowExtractor(name, started, loaded.provenance)
            for split in SPLITS:
                (out / f"{split}.h5").unlink(missing_ok=True)
            shards = image_shards(images)
            plan = ViewPlan(False, 0)
            counts.extend(extract_features(shards, out, [lambda: member], plan, "float32"))
            return time.perf_counter() - began

    return run


def unpack_images(dataset: Path, count: int, folder: Path) -> None:
    """Unpacks `count` training images of eight classes of Tiny ImageNet into `folder`."""
    source = datasets.TinyImageNet(path=dataset).load()
    records = [record for record in source.records if record.split == "train"]
    for label in range(8):
        of_class = [record for record in records if record.label == label]
        for record in of_class[: count // 8]:
            file = folder / str(label) / Path(record.id).name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(source.read(record.id))


def sgemm_flops() -> float:
    """Float32 count_flops per second of torch's matrix product: the maximum of five runs."""
    a, b = torch.randn(2, 4096, 4096, device=DEVICE)
    best = 0.0
    for _ in range(5):
        began = time.perf_counter()
        float((a @ b)[0, 0])
        best = max(best, 2 * 4096**3 / (time.perf_counter() - began))
    return best


def count_flops(name: str, size: int) -> int:
    """Operations for one image; a multiplication and an addition count as two."""
    model = timm.create_model(name, num_classes=0).eval()
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(torch.zeros(1, 3, size, size))
    return counter.get_total_flops()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--dataset", type=Path, required=True)
    arguments.add_argument("--thingsvision", type=Path, metavar="PYTHON")
    arguments.add_argument("--images", type=int, default=128)
    arguments.add_argument("--rounds", type=int, default=3)
    args = arguments.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as temporary:
        folder, out = Path(temporary, "images"), Path(temporary, "out")
        out.mkdir()
        unpack_images(args.dataset, args.images, folder)
        for name, size in MODELS.items():
            counts: list[ExtractionStats] = []
            contenders = {
                "naive eager loop": naive(name, size, folder, out),
                "timm's loader and model": timm_inference(name, size, folder, out, False),
                "the same, channels_last": timm_inference(name, size, folder, out, True),
                "headstart": ours(name, size, folder, out, counts),
            }
            if args.thingsvision:
                run = thingsvision(args.thingsvision, name, size, folder, out)
                contenders["thingsvision"] = run
            seconds = alternate(contenders, args.rounds)
            print(f"\n### {name} at {size} px, {args.images} images, {args.rounds} rounds\n")
            print(table(seconds, "naive eager loop", args.images, "image"))
            computing = max(count.computed / count.computing for count in counts)
            achieved = computing * count_flops(name, size)
            print(
                f"\nheadstart while it computes: {achieved / 1e9:,.0f} GFLOP/s, "
                f"{achieved / sgemm_flops():.0%} of the machine's sgemm\n"
            )


if __name__ == "__main__":
    main()
