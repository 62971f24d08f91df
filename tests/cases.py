"""Small made-up cases that several tests start from."""

import io
import runpy
import shutil
import sys
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from headstart.cli.main import main
from headstart.store.examples import UNLABELED, ClassLabel, Examples
from headstart.store.predictions import Predictions, save_predictions
from headstart.store.views import TEN_CROP

ROOT = Path(__file__).parent.parent
TEN_CROP_NAMES = [view.name for view in TEN_CROP]
NAMES = ["convertible", "sports car, sport car", "plunger, plumber's helper", "Egyptian cat"]


def examples(n: int, classes: int = 4, split: str = "val", labeled: bool = True) -> Examples:
    labels = np.arange(n) % classes if labeled else np.full(n, UNLABELED)
    names = [*NAMES, *(f"class {c}" for c in range(4, classes))][:classes]
    described = [ClassLabel(f"n{c:08d}", name) for c, name in enumerate(names)]
    return Examples([f"{split}/images/{split}_{i}.JPEG" for i in range(n)], labels, described)


def predictions(
    n: int = 60, *, views: int = 10, skill: float = 2.0, seed: int = 0, **described: Any
) -> Predictions:
    """Logits that know the label the better the greater `skill`, different in each view."""
    of = examples(n, **described)
    rng = np.random.default_rng(seed)
    truth = np.eye(len(of.classes))[of.labels % len(of.classes)]
    common = rng.normal(size=(n, 1, len(of.classes))) + skill * truth[:, None]
    logits = common + rng.normal(size=(n, views, len(of.classes)))
    names = TEN_CROP_NAMES[:views]
    return Predictions(logits.astype(np.float32), names, of, passes=100, parameters=30)


def save_run(folder: Path, *, test: Predictions | None = None, **kind: Any) -> None:
    """The files that `predict` would write of one run."""
    seed = kind.pop("seed", 0)
    save_predictions(folder / "tune.h5", predictions(40, split="tune", seed=100 + seed, **kind))
    save_predictions(folder / "val.h5", predictions(60, split="val", seed=seed, **kind))
    if test is not None:
        save_predictions(folder / "test.h5", test)


def write_params(folder: Path, **sections: Any) -> None:
    """The project's params.yaml in `folder`, with `sections` changed.

    Nothing is trained end to end where `sections` don't say so. A dataset's `name` replaces the
    whole section, because each dataset has keys of its own.
    """
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params["finetune"]["backbones"] = []
    params["train_scratch"]["networks"] = []
    for section, changed in sections.items():
        if section == "dataset" and "name" in changed:
            params[section] = {}
        params[section] |= changed
    excluded = folder / params["prepare"]["exclude"]
    excluded.parent.mkdir(parents=True, exist_ok=True)
    if not excluded.exists():
        excluded.write_text("id\n", encoding="utf-8")
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")


def run_command(*arguments: str) -> None:
    """`headstart <arguments>`, in this process.

    Raises:
        SystemExit: it failed; as text, the message that it printed.
    """
    errors = io.StringIO()
    with redirect_stderr(errors):
        status = main(arguments)
    if status:
        raise SystemExit(errors.getvalue())


def write_project(folder: Path, **sections: Any) -> None:
    """A project's folder as the command finds it: params.yaml as `write_params`, and dvc.yaml."""
    write_params(folder, **sections)
    shutil.copy(ROOT / "dvc.yaml", folder)


def run_stage(
    monkeypatch: pytest.MonkeyPatch, folder: Path, name: str, *arguments: str, **sections: Any
) -> None:
    """`python -m stages.<name>` in `folder`, with the project's params and `sections` changed."""
    write_params(folder, **sections)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    runpy.run_module(f"stages.{name}", run_name="__main__")
