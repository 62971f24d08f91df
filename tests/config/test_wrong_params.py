"""A hundred wrong values of params.yaml: each is answered by a line that names its key."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from headstart.cli.project_checks import check_project
from headstart.core.errors import UserError
from headstart.data import datasets

SHIPPED = Path(__file__).parents[2] / "params.yaml"
CONTENT = json.dumps(yaml.safe_load(SHIPPED.read_text("utf-8")))
"""As JSON, because YAML's anchors would change with what stands elsewhere."""

GONE = object()
"""Stands for a key that is left out."""

WRONG: list[tuple[str, Any] | tuple[str, Any, str]] = [
    # Each: a key, its wrong value, and the key that the line names where that is another one.
    ("", None, "params.yaml"),
    ("", [], "params.yaml"),
    ("resze", {}),
    ("prepare", GONE),
    ("prepare", None),
    ("prepare", "all"),
    ("dataset", []),
    ("dataset.name", GONE),
    ("dataset.name", None),
    ("dataset.name", "photo_patch"),
    ("dataset.name", 3),
    ("dataset.path", GONE),
    ("dataset.path", None),
    ("dataset.path", 7),
    ("dataset.path", ["a", "b"]),
    ("dataset.path", "/no/such/folder"),
    ("dataset.path", "pyproject.toml"),
    ("dataset.path", ""),
    ("dataset.path", "~/flowers"),
    ("dataset.val_fraction", 0),
    ("dataset.val_fraction", 1.0),
    ("dataset.val_fraction", "half"),
    ("dataset.val_fration", 0.2),
    ("prepare.tune_fraction", -0.2),
    ("prepare.tune_fraction", 20),
    ("prepare.tune_fraction", math.nan),
    ("prepare.tune_fraction", True),
    ("prepare.seed", "zero"),
    ("prepare.seed", -1),
    ("prepare.seed", 1.5),
    ("prepare.on_bad_image", "ignore"),
    ("prepare.on_bad_image", False),
    ("prepare.max_pixels", 0),
    ("prepare.max_pixels", "many"),
    ("resize.fit", "pad"),
    ("zoo", []),
    ("zoo.resnet-50", {"architecture": "resnet50", "weights": "none"}),
    ("zoo.resnet50", None),
    ("zoo.resnet50", "resnet50"),
    ("zoo.resnet50.architecture", GONE),
    ("zoo.resnet50.architecture", "resnett50"),
    ("zoo.resnet50.architecture", 50),
    ("zoo.resnet50.weights", GONE),
    ("zoo.resnet50.weights", "imagenet", "zoo.resnet50"),
    ("zoo.resnet50.weights", "/no/such.safetensors", "zoo.resnet50"),
    ("zoo.resnet50.weights", None),
    ("zoo.resnet50.weights", "bundled", "zoo.resnet50"),
    ("zoo.resnet50.sha256", "abc"),
    ("zoo.resnet50.seed", -(2**70)),
    ("zoo.resnet50.model_args", [1]),
    ("zoo.resnet50.input_size", 0),
    ("zoo.resnet50.input_size", 10**9),
    ("zoo.resnet50.input_size", "large"),
    ("zoo.resnet50.interpolation", "nearest"),
    ("zoo.resnet50.precision", "float16"),
    ("zoo.resnet50.layers", []),
    ("zoo.resnet50.layers", "layer4"),
    ("zoo.resnet50.layers", ["layer4", "layer4"], "zoo.resnet50: layers"),
    ("zoo.resnet50.pooling", "mean"),
    ("zoo.resnet50.pooling", "avg", "zoo.resnet50: pooling"),
    ("zoo.both.concatenate", ["resnet50"]),
    ("zoo.both.concatenate", ["resnet50", "resnet51"]),
    ("extract.backbones", "bundled"),
    ("extract.backbones", None),
    ("extract.backbones", ["bundeld"]),
    ("extract.backbones", ["bundled", "bundled"]),
    ("extract.backbones", [["bundled"]]),
    ("extract.ten_crop", "perhaps"),
    ("extract.augmented_views", -1),
    ("extract.augmented_views", 10**9),
    ("extract.dtype", "bfloat16"),
    ("extract.batch_size", 0),
    ("extract.batch_size", 10**9),
    ("extract.batch_size", None),
    ("extract.batch_size", True),
    ("extract.device", "gpu"),
    ("heads.linear.kind", GONE),
    ("heads.linear.kind", "liner"),
    ("heads.linear.keep", "first"),
    ("heads.linear.average_snapshots", 0),
    ("heads.linear.average_snapshots", 99, "heads.linear: average_snapshots"),
    ("heads.linear.learning_rate", 0),
    ("heads.linear.learning_rate", "fast"),
    ("heads.linear.learning_rate_decay", 1.1),
    ("heads.linear.weight_decay", -0.1),
    ("heads.linear.label_smoothing", 1),
    ("heads.linear.dropout", 1),
    ("heads.linear.epochs", 0),
    ("heads.linear.epochs", 10**9),
    ("heads.linear.epochs", 1.5),
    ("heads.linear.batch_size", 10**12),
    ("heads.linear.train_views", "some"),
    ("heads.linear.hidden", [10]),
    ("heads.linear.class_weights", "equal"),
    ("recipes.finetune.class_weights", "equal"),
    ("evaluate.choose_by", "top1"),
    ("heads.mlp.hidden", []),
    ("heads.mlp.hidden", 1024),
    ("heads.mlp.hidden", [10**9]),
    ("heads.mlp.hidden", [65536] * 100),
    ("heads.mlp.activation", "rulu"),
    ("heads.logistic_regression.c", 0.01),
    ("heads.logistic_regression.c", [0]),
    ("heads.nearest_neighbors.k", []),
    ("heads.nearest_neighbors.temperature", [-1]),
    ("heads.ridge.strengths", ["strong"]),
    ("heads.lda.shrinkages", [1.5]),
    ("heads.linear_sweep.over", {}),
    ("heads.linear_sweep.over.learning_rat", [0.1], "heads.linear_sweep"),
    ("heads.linear_sweep.over.learning_rate", [0.1, -1], "heads.linear_sweep"),
    ("heads.linear_sweep.over.seed", list(range(10**4)), "heads.linear_sweep"),
    ("heads.linear_sweep.sample", 0),
    ("train_head.heads", ["linaer"]),
    ("train_head.heads", {"linear": True}),
    ("train_head.memory_limit", "4 parrots"),
    ("train_head.memory_limit", -1),
    ("train_head.device", 0),
    ("ensembles.two.members", ["bundled-linear"]),
    ("ensembles.two.snapshots_of", "mini_inception", "ensembles.two"),
    ("ensembles.two.choose", "best"),
    ("ensemble.ensembles", ["two"], "ensembles.two"),
    ("ensemble.ensembles", ["three"]),
    ("recipes.small.optimizer", "adam"),
    ("recipes.small.optimizer.name", "adamm"),
    ("recipes.small.optimizer.momentum", 0.9),
    ("recipes.small.schedule.name", None),
    ("recipes.small.batch_size", 1),
    ("recipes.small.clip_norm", 0),
    ("recipes.small.ema", 1),
    ("recipes.small.augmentation.flip", 2),
    ("recipes.small.augmentation.contrast", [1.4, 0.7]),
    ("recipes.small.augmentation.contrast", 0.5),
    ("recipes.small.layer_decay", 0),
    ("networks.resnet14t.network", "resnet14t"),
    ("networks.resnet14t.recipe", "shrot"),
    ("networks.resnet14t.arguments", {}, "networks.resnet14t"),
    ("networks.resnet14t.crop", 1.5),
    ("networks.vgg16.trunk", "resnet18", "networks.vgg16"),
    ("networks.vgg16.normalization", "std"),
    ("networks.vgg16.recorded_outputs", "classifier"),
    ("recipes.small.dropout", 0.4),
    ("recipes.small.dropout", [0.4, 1.0]),
    ("recipes.small.snapshot_steps", 0),
    ("recipes.milani.schedule.staircase", "yes, please"),
    ("studies.attention", ["no_attention"]),
    ("studies.attention", ["no_attention", "attention_simpel"]),
    ("studies.attention", ["no_attention", "no_attention"]),
    ("studies.attention", ["bundled-linear", "bundled-lnear"]),
    ("sheets", GONE),
    ("sheets.recipe", "smal"),
    ("train_scratch.networks", ["resnet14"]),
    ("train_scratch.networks", "resnet14t"),
    ("train_scratch.snapshots", 0),
    ("finetune.backbones", ["both"]),
    ("finetune.head", "ridge"),
    ("finetune.recipe", None),
    ("finetune.augmented_views", -1),
    ("finetune.trunk_limit", "much"),
    ("finetune.trainable_only", "fc"),
    ("finetune.crop", 0),
    ("evaluate.confidence", 95),
    ("evaluate.coverage", math.nan),
    ("evaluate.resamples", 10),
    ("evaluate.resamples", 10**12),
    ("evaluate.seed", -1),
    ("learning_curve.images_per_class", [0]),
    ("learning_curve.heads", ["lad"]),
    ("learning_curve.subsets", 10**9),
    ("tsne.splits", ["test"]),
    ("tsne.classes", "all"),
    ("tsne.perplexity", 1),
    ("tsne.seed", 2**40),
    ("tsne.split", "val"),
    ("report.attribution", "yes please"),
    ("report.max_images", 0),
    ("report.max_image", 10),
    ("localize", GONE),
    ("localize.backbones", ["resnet51"]),
    ("localize.backbones", ["both"]),
    ("localize.backbones", ["random"]),  # not in extract.backbones
    ("localize.classes", "goldfish"),
    ("localize.frozen", "yes please"),
    ("localize.steps", 0),
    ("localize.dropout", 1.0),
    ("localize.position_weight", 0),
    ("localize.batch_size", 1),
    ("localize.epochs", -1),
]


def changed(key: str, value: Any) -> Any:
    """The shipped params with one key changed; of a user's own images, so that `path` matters."""
    if not key:
        return value
    content = json.loads(CONTENT)
    content["dataset"] = {"name": "image_folder", "path": "tests", "val_fraction": 0.2}
    *sections, last = key.split(".")
    section = content
    for name in sections:
        section = section[name]
    if value is GONE:
        del section[last]
    else:
        section[last] = value
    return content


def answer(tmp_path: Path, content: Any) -> str:
    path = tmp_path / "params.yaml"
    path.write_text(yaml.dump(content, Dumper=yaml.CSafeDumper), encoding="utf-8")
    with pytest.raises(UserError) as told:
        check_project(datasets.load_params(path))
    return str(told.value).replace(str(path), "params.yaml")


@pytest.mark.parametrize(
    "case", WRONG, ids=lambda case: f"{case[0]}={'gone' if case[1] is GONE else case[1]!r:.40}"
)
def test_a_wrong_value_is_answered_by_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: tuple
) -> None:
    monkeypatch.chdir(SHIPPED.parent)
    key, value, *named = case
    lines = answer(tmp_path, changed(key, value)).splitlines()
    assert any((named or [key])[0] in line for line in lines), lines
    assert len(lines) <= 2, lines
