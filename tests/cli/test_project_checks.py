"""`headstart check`: everything that would stop `dvc repro`, at once and before it starts."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from headstart.cli import project_checks
from headstart.cli.project_checks import check_project
from headstart.core.errors import UserError
from headstart.data import datasets
from tests import cases

FOLDER = {"name": "image_folder", "path": "images", "val_fraction": 0.2}


def checked(folder: Path, **sections: Any) -> list[str]:
    """The lines that `check` says in `folder` of the shipped params with `sections` changed."""
    (folder / "images").mkdir(exist_ok=True)
    cases.write_params(folder, **sections)
    content = yaml.safe_load((folder / "params.yaml").read_text("utf-8"))
    content["dataset"] = sections.get("dataset", FOLDER)
    (folder / "params.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    try:
        check_project(datasets.load_params(folder / "params.yaml"))
    except UserError as error:
        return str(error).splitlines()
    return []


@pytest.fixture(autouse=True)
def in_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(project_checks, "_has_driver", lambda: False)
    return tmp_path


def test_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "images").mkdir()
    sections = {"dataset": FOLDER, "train_head": {"heads": ["linear", "lda"]}}
    cases.write_project(tmp_path, extract={"backbones": ["pixels"]}, **sections)
    monkeypatch.chdir(tmp_path / "images")
    cases.run_command("check")
    assert capsys.readouterr().out == "params.yaml is fine: 2 runs: pixels-linear, pixels-lda\n"
    cases.write_project(tmp_path, dataset={**FOLDER, "path": "nowhere"})
    with pytest.raises(SystemExit, match=r"^error: dataset\.path: nowhere doesn't exist"):
        cases.run_command("check")


def test_the_shipped_params_are_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(cases.ROOT)
    check_project(datasets.load_params())


def test_all_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"no weights")
    zoo = {"own": {"architecture": "resnet18", "weights": str(tmp_path / "w.safetensors")}}
    lines = checked(
        tmp_path,
        dataset={**FOLDER, "path": "/nowhere"},
        zoo=zoo,
        extract={"backbones": ["own"], "device": "cuda"},
        heads={"mlp": {**yaml_heads()["mlp"], "hidden": [1 << 20, 1 << 20]}},
    )
    assert [line.split(":")[0] for line in lines] == [
        *("dataset.path", "zoo.own.weights", "extract.device", "heads.mlp.hidden")
    ]


def yaml_heads() -> dict[str, Any]:
    return yaml.safe_load((cases.ROOT / "params.yaml").read_text("utf-8"))["heads"]


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"dataset": {**FOLDER, "path": "."}}, r"^dataset\.path: \. holds this project"),
        ({"dataset": {**FOLDER, "path": "params.yaml"}}, r"^dataset\.path: .* neither a folder"),
        (
            {"dataset": {"name": "tiny_imagenet", "path": "absent.zip"}},
            r"^dataset\.path: absent\.zip doesn't exist",
        ),
        (
            {"dataset": {"name": "flowers", "path": "absent.tgz"}},
            r"^dataset\.path: absent\.tgz doesn't exist; name the archive",
        ),
        (
            {"dataset": {"name": "table", "path": "a.csv", "image": "file", "label": "class"}},
            r"^dataset\.path: a\.csv doesn't exist; name a table",
        ),
        (
            {"dataset": {"name": "webdataset", "path": "images", "files": "a-{0..3}.tar"}},
            r"^dataset\.files: images holds no 'a-0\.tar'",
        ),
        (
            {"dataset": {"name": "image_folder", "path": "memory://nowhere"}},
            r"^dataset\.path: memory://nowhere doesn't exist",
        ),
        (
            {"train_head": {"heads": []}},
            r"train_scratch\.networks: no run is active; name a backbone and a head",
        ),
        (
            {
                "train_head": {"heads": ["linear_sweep"]},
                "heads": {
                    "linear_sweep": {
                        "kind": "sweep",
                        "head": yaml_heads()["mlp"],
                        "over": {"hidden": [[8], [1 << 20, 1 << 20]]},
                    }
                },
            },
            r"^heads\.linear_sweep\.hidden: \[1048576, 1048576\] .* 17,\d+\.\d GB of memory",
        ),
    ],
)
def test_what_each_key_is_told(tmp_path: Path, sections: dict[str, Any], said: str) -> None:
    [line] = checked(tmp_path, **sections)
    assert re.search(said, line), line
