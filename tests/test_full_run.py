"""`dvc repro` as a user calls it, on a small folder of images, in a copy of the project."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.test_pipeline import EDITS

ROOT = Path(__file__).parent.parent
COPIED = (
    ".dvc/config",
    ".dvc/.gitignore",
    ".dvcignore",
    ".gitignore",
    "dvc.yaml",
    "stages",
    "src",
    "data/excluded.tsv",
    "data/raw",
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    make_project(tmp_path)
    return tmp_path


def make_project(folder: Path) -> None:
    """The project in `folder`, with twelve images of each of two colors and quick params."""
    for name in COPIED:
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    rng = np.random.default_rng(0)
    for color, mean in (("rot", (200, 60, 60)), ("grün", (60, 200, 60))):
        images = folder / "images" / color
        images.mkdir(parents=True)
        for number in range(12):
            pixels = rng.normal(mean, 40, (16, 16, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(images / f"{number}.png")

    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["dataset"] = {"name": "image_folder", "path": "images", "val_fraction": 0.25}
    params["zoo"]["tiny"] = {"architecture": "resnet10t", "weights": "none", "input_size": 32}
    params["extract"] |= {"backbones": ["tiny"], "batch_size": 4, "device": "cpu"}
    params["train_head"]["heads"] = ["linear"]
    params["train_scratch"]["networks"] = []
    params["finetune"]["backbones"] = []
    params["tsne"]["perplexity"] = 2
    (folder / "params.yaml").write_text(yaml.safe_dump(params))


def repro(project: Path, *targets: str, succeeds: bool = True) -> str:
    """What `dvc repro` prints; it must succeed, or fail."""
    return dvc(project, "repro", *targets, succeeds=succeeds)


def dvc(project: Path, *arguments: str, succeeds: bool = True) -> str:
    """What `dvc` prints; it must succeed, or fail."""
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HF_HUB_OFFLINE": "1",
        "DVC_NO_ANALYTICS": "1",
    }
    environment.pop("HEADSTART_CACHE", None)
    if not (project / ".git").exists():
        subprocess.run(["git", "init", "-q"], cwd=project, check=True)
    ran = subprocess.run(
        ["dvc", *arguments],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode == 0) == succeeds, ran.stdout + ran.stderr
    return ran.stdout if succeeds else ran.stdout + ran.stderr


def ran(output: str) -> list[str]:
    lines = output.splitlines()
    return [line.split("'")[1] for line in lines if line.startswith("Running stage")]


def test_from_a_folder_of_images_to_a_comparison_and_only_what_an_edit_makes_necessary(
    project: Path,
) -> None:
    head = ["train_head@tiny-linear", "predict@tiny-linear", "evaluate@tiny-linear"]
    first = ran(repro(project))
    assert sorted(first) == sorted(
        [
            *("validate", "prepare", "resize", "extract@tiny", "audit@tiny", *head),
            *("tsne@tiny", "neighbors@tiny", "learning_curve@tiny-lda"),
            *("sheets", "compare", "attribution", "report", "package"),
        ]
    )
    assert "tiny-linear" in (project / "report" / "comparison.md").read_text()
    figures = ("comparison", "learning_curves", "tsne/tiny", "reliability/tiny-linear")
    for name in (*figures, "training/tiny-linear", "filters/backbones/tiny"):
        assert (project / "report" / "figures" / f"{name}.svg").is_file()
    for name in ("classes", "augmentation", "rescaling"):
        assert (project / "report" / "figures" / "sheets" / f"{name}.png").is_file()
    assert (project / "results" / "evaluation" / "tiny-linear" / "per_class.tsv").is_file()
    assert "grün" in (project / "report" / "index.html").read_text()

    assert ran(repro(project)) == []

    for file, stages in EDITS.items():
        path = project / file
        source = path.read_bytes()
        path.write_bytes(source + b"# edited\n")
        assert set(json.loads(dvc(project, "status", "--json"))) == stages, file
        path.write_bytes(source)

    params = yaml.safe_load((project / "params.yaml").read_text())
    params["heads"]["linear"]["epochs"] = 3
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    after = ["attribution", "compare", "package", "report"]
    assert sorted(ran(repro(project))) == sorted(["validate", *head, *after])
    assert (project / "data/models/tiny-linear/model.json").is_file()


def test_an_alias_reaches_no_shell_and_no_path_before_it_is_valid(project: Path) -> None:
    # What validates params.yaml before `extract` does, but for `validate`, has run already.
    repro(project, "resize")
    precious = project / "precious"
    precious.mkdir()
    (precious / "work").write_text("of years")
    params = yaml.safe_load((project / "params.yaml").read_text())
    params["extract"]["backbones"] = ["../../precious", "x; touch made_by_a_shell; true"]
    params["train_head"]["heads"] = params["learning_curve"]["heads"] = []
    (project / "params.yaml").write_text(yaml.safe_dump(params))
    told = repro(project, succeeds=False)
    assert ran(told) == ["validate"]
    assert "params.yaml: extract.backbones.0: String should match pattern" in told
    assert (precious / "work").read_text() == "of years"
    assert not (project / "made_by_a_shell").exists()
