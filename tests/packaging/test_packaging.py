"""What the stage `package` writes: the same bytes each time, and all that it was made from."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from headstart.config import load_params
from headstart.core.errors import UserError
from headstart.core.file_digests import file_sha256
from headstart.core.git_commits import last_commit
from headstart.packaging.model_description import load_description
from headstart.packaging.packaging import PipelineOutputs, member_names, package_run
from headstart.store.ensemble_curves import EnsembleSize, write_ensemble_curve
from headstart.store.images import open_images
from tests import cases
from tests.packaged import RUNS, SECTIONS


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_same_inputs_give_the_same_bytes(packaged: Path, tmp_path: Path) -> None:
    params = load_params(packaged / "params.yaml")
    outputs = PipelineOutputs(packaged / "data/trained", packaged / "results")
    with open_images(packaged / "data/images.h5") as images:
        for run in RUNS:
            package_run(run, params, images, outputs, tmp_path / run)
            first, again = contents(packaged / "data/models" / run), contents(tmp_path / run)
            assert {**first, "model.json": b"", "README.md": b""} == {
                **again,
                "model.json": b"",
                "README.md": b"",
            }
            package_run(run, params, images, outputs, tmp_path / run)
            assert contents(tmp_path / run) == again


def test_it_says_what_it_was_made_from(packaged: Path) -> None:
    team = load_description(packaged / "data/models/team")
    assert [member.name for member in team.members] == ["tiny-lda", "small", "tiny-finetune"]
    assert team.images == {"train": 32, "tune": 24, "val": 16}
    assert team.evaluation["n"] == 16
    metrics = json.loads((packaged / "results/evaluation/team/metrics.json").read_text())
    for name in ("top1", "top1_interval", "ece"):
        assert team.evaluation[name] == metrics["val"]["whole"][name]
    assert set(team.params["members"]["tiny-finetune"]) == {"finetune", "zoo", "head", "recipe"}
    assert team.params["members"]["small"]["recipes"].keys() == {"short"}
    assert set(team.versions) >= {"headstart", "torch", "timm", "python"}
    card = (packaged / "data/models/team/README.md").read_text(encoding="utf-8")
    low, high = team.evaluation["top1_interval"]
    averages = ("balanced accuracy", "macro-F1", "AUROC (one against rest)")
    assert all(
        f"{average} {team.evaluation[name]:.1%} [" in card
        for average, name in zip(averages, ("balanced_accuracy", "macro_f1", "auroc"), strict=True)
    )
    assert f"Top-1 {team.evaluation['top1']:.1%} [{low:.1%}, {high:.1%}] on n = 16" in card
    both = load_description(packaged / "data/models/both-lda").members[0]
    assert both.kind == "head"
    assert list(both.backbones) == ["again", "tiny"]
    assert len({backbone.weights for backbone in both.backbones.values()}) == 2


def test_an_ensemble_has_the_members_that_tune_kept(packaged: Path, tmp_path: Path) -> None:
    chosen = {"ensembles": {"team": {**SECTIONS["ensembles"]["team"], "choose": "ranked"}}}
    cases.write_params(tmp_path, **{**SECTIONS, **chosen})
    params = load_params(tmp_path / "params.yaml")
    curve = [EnsembleSize(1, "small", 0.5, 0.5, True), EnsembleSize(2, "tiny-lda", 0.4, 0.4, False)]
    write_ensemble_curve(tmp_path / "results/ensembles/team.tsv", curve)
    outputs = PipelineOutputs(packaged / "data/trained", tmp_path / "results")
    assert list(member_names("team", params, outputs)) == ["small"]


def test_snapshots_are_members_of_their_own(packaged: Path, tmp_path: Path) -> None:
    trained = shutil.copytree(packaged / "data/trained", tmp_path / "trained")
    for path in trained.glob("small/snapshot_*"):
        path.unlink()
    for number in range(2):
        shutil.copy(
            trained / "small/model.safetensors", trained / f"small/snapshot_0{number}.safetensors"
        )
    cases.write_params(tmp_path, **{**SECTIONS, "ensembles": {"team": {"snapshots_of": "small"}}})
    params = load_params(tmp_path / "params.yaml")
    outputs = PipelineOutputs(trained, packaged / "results")
    with open_images(packaged / "data/images.h5") as images:
        package_run("team", params, images, outputs, tmp_path / "team")
    members = load_description(tmp_path / "team").members
    assert [member.file for member in members] == [
        "small/snapshot_00.safetensors",
        "small/snapshot_01.safetensors",
    ]


def test_a_file_of_weights_is_pinned(packaged: Path, tmp_path: Path) -> None:
    weights = tmp_path / "own.safetensors"
    weights.write_bytes(b"none")
    tiny = {**SECTIONS["zoo"]["tiny"], "weights": str(weights)}
    cases.write_params(tmp_path, **{**SECTIONS, "zoo": {**SECTIONS["zoo"], "tiny": tiny}})
    params = load_params(tmp_path / "params.yaml")
    outputs = PipelineOutputs(packaged / "data/trained", packaged / "results")
    with open_images(packaged / "data/images.h5") as images:
        package_run("tiny-lda", params, images, outputs, tmp_path / "lda")
        gone = PipelineOutputs(tmp_path / "gone", packaged / "results")
        with pytest.raises(UserError, match="gone/tiny-lda holds no trained model"):
            package_run("tiny-lda", params, images, gone, tmp_path / "x")
    [member] = load_description(tmp_path / "lda").members
    assert member.kind == "head"
    entry = member.backbones["tiny"].entry
    assert (entry["weights"], entry["sha256"]) == (str(weights), file_sha256(weights))


def test_the_last_commit_of_some_paths(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        identity = ("-c", "user.name=a", "-c", "user.email=a@b")
        command = ["git", *identity, *arguments]
        return subprocess.run(
            command, cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout.strip()

    assert last_commit(tmp_path, ["code"]) == (None, False)
    git("init", "-q")
    (tmp_path / "code").write_text("1")
    git("add", "code")
    git("commit", "-qm", "code")
    commit = git("rev-parse", "HEAD")
    (tmp_path / "notes").write_text("1")
    git("add", "notes")
    git("commit", "-qm", "notes")
    assert last_commit(tmp_path, ["code"]) == (commit, False)
    (tmp_path / "code").write_text("2")
    assert last_commit(tmp_path, ["code"]) == (commit, True)
