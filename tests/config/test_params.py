"""params.yaml: what is wrong is said in one line that names what would be right."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from headstart import config
from headstart.core.errors import UserError

SHIPPED = Path(__file__).parents[2] / "params.yaml"


def error(tmp_path: Path, change: Callable[[dict[str, Any]], object]) -> str:
    content = yaml.safe_load(SHIPPED.read_text())
    change(content)
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(UserError) as raised:
        config.load_params(path)
    return str(raised.value).replace(str(path), "params.yaml")


def test_the_shipped_file_is_valid_and_holds_the_papers_backbones() -> None:
    shipped = config.load_params(SHIPPED)
    zoo = shipped.single_backbones
    assert zoo["inception_v3"].architecture.startswith("inception_v3")
    assert zoo["resnet50"].architecture.startswith("resnet50")
    assert shipped.runs


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            lambda c: c.update(resze={}),
            "params.yaml: resze: unknown key; did you mean 'resize'?",
        ),
        (
            lambda c: c["dataset"].pop("path"),
            "params.yaml: dataset.path: is missing",
        ),
        (
            lambda c: c["prepare"].update(on_bad_image="skp"),
            "params.yaml: prepare.on_bad_image: can't be 'skp'; did you mean 'skip'?",
        ),
        (
            lambda c: c["prepare"].update(tune_fraction=1.5),
            "params.yaml: prepare.tune_fraction: Input should be less than 1",
        ),
        (
            lambda c: c["extract"].update(backbones=["inceptoin_v3"]),
            "params.yaml: extract.backbones: zoo has no 'inceptoin_v3'; "
            "did you mean 'inception_v3'?",
        ),
        (
            lambda c: c["extract"].update(backbones=["resnet50", "resnet50"]),
            "params.yaml: extract.backbones: an alias stands there twice; name each once",
        ),
        (
            lambda c: c["zoo"]["resnet50"].update(architecture="resnett50"),
            "params.yaml: zoo.resnet50.architecture: timm has no 'resnett50'; "
            "did you mean 'resnet50'?",
        ),
        (
            lambda c: c["zoo"]["resnet50"].update(weights="no/such.safetensors"),
            "params.yaml: zoo.resnet50: no weights file 'no/such.safetensors'; "
            "give hub, bundled, none, or a weights file's path",
        ),
        (
            lambda c: c["extract"].update(backbones=["pixels"]),
            "params.yaml: finetune.backbones: 'bundled' is not in extract.backbones, which "
            "fine-tuning goes on from; name it there too, or set finetune.backbones to []",
        ),
        (
            lambda c: c["finetune"].update(head="ridge"),
            "params.yaml: finetune.head: 'ridge' is not in train_head.heads, which fine-tuning "
            "goes on from; name it there too, or set finetune.backbones to []",
        ),
        (
            lambda c: c["networks"]["resnet_lstm"].update(trunk="resnet81"),
            "params.yaml: networks.resnet_lstm.trunk: zoo (without concatenations or layers) has "
            "no 'resnet81'; did you mean 'resnet18'?",
        ),
        (
            lambda c: c["studies"].update(attention=["no_attention", "atention_simple"]),
            "params.yaml: studies.attention: no run can be called 'atention_simple'; "
            "did you mean 'attention_simple'?",
        ),
        (
            lambda c: c["finetune"].update(launch="mpirun -n 2"),
            "params.yaml: finetune.launch: is called 'processes' now",
        ),
        (
            lambda c: c["finetune"].update(frozen_layers=3),
            "params.yaml: finetune.frozen_layers: is called 'trainable_from' now",
        ),
        (
            lambda c: c["finetune"].update(trainable_from="layer4", trainable_only=["fc"]),
            "params.yaml: finetune: trainable_only: trainable_from is given too; keep one of them",
        ),
        (
            lambda c: c["finetune"].update(trainable_only=["fc"], crop=0.9),
            "params.yaml: finetune: crop: must be 1.0 where only a part of the network is trained, "
            "because that part sees cached views instead of random crops",
        ),
        (
            lambda c: c["finetune"].update(trainable_from="layer4", recipe="modern"),
            "params.yaml: finetune.recipe: 'modern' mixes images, which training a part of the "
            "network doesn't see; set its mixup and cutmix to 0",
        ),
        (
            lambda c: c["finetune"].update(backbones=["pixels"]),
            "params.yaml: finetune.backbones: 'pixels' has no weights to train; remove it",
        ),
        (
            lambda c: c["train_scratch"].update(launch="python"),
            "params.yaml: train_scratch.launch: is called 'processes' now",
        ),
        (
            lambda c: c["extract"].update(launch="torchrun --nproc-per-node 8"),
            "params.yaml: extract.launch: can't be 'torchrun --nproc-per-node 8'; "
            "valid: ray, torchrun",
        ),
        (
            lambda c: c["extract"].update(processes=0),
            "params.yaml: extract.processes: Input should be greater than or equal to 1",
        ),
        (
            lambda c: c["resize"].update(size=64),
            "params.yaml: resize.size: is called 'side' now",
        ),
        (
            lambda c: c["networks"]["vgg16"].update(size=64),
            "params.yaml: networks.vgg16.size: is called 'input_size' now",
        ),
        (
            lambda c: c["zoo"]["bundled"]["model_args"].update(size=64),
            "params.yaml: zoo.bundled.model_args.size: DVC overlooks a change below a key that is "
            "called 'size'; rename or remove that key",
        ),
        (
            lambda c: c["heads"].update(nfiles=c["heads"]["linear"]),
            "params.yaml: heads.nfiles: DVC overlooks a change below a key that is called "
            "'nfiles'; rename or remove that key",
        ),
        (
            lambda c: c["zoo"]["bundled"].update(mean=[0.5, 0.5]),
            "params.yaml: zoo.bundled.mean: wants three numbers, one for each channel: red, green "
            "and blue",
        ),
        (
            lambda c: c["zoo"]["bundled"].update(std=0.5),
            "params.yaml: zoo.bundled.std: wants three numbers, one for each channel: red, green "
            "and blue",
        ),
        (
            lambda c: c["zoo"]["bundled"].update(mean=[float("nan"), 0.5, 0.5]),
            "params.yaml: zoo.bundled.mean.0: Input should be a finite number",
        ),
        (
            lambda c: c["zoo"]["bundled"].update(std=[0.5, 0.5, 0]),
            "params.yaml: zoo.bundled.std.2: Input should be greater than 0",
        ),
        (
            lambda c: c["zoo"]["bundled"].update(std=[0.5, float("inf"), 0.5]),
            "params.yaml: zoo.bundled.std.1: Input should be a finite number",
        ),
        (
            lambda c: c["recipes"]["modern"]["optimizer"].update(learning_rate=float("inf")),
            "params.yaml: recipes.modern.optimizer.learning_rate: Input should be a finite number",
        ),
        (
            lambda c: c["heads"]["ridge"].update(strengths=[1, float("inf")]),
            "params.yaml: heads.ridge.strengths.1: Input should be a finite number",
        ),
        (
            lambda c: c["recipes"]["small"]["augmentation"].update(contrast=[1.4]),
            "params.yaml: recipes.small.augmentation.contrast: wants two numbers, the least and "
            "the greatest",
        ),
        (
            lambda c: c["train_head"].update(heads=["linaer"]),
            "params.yaml: train_head.heads: heads has no 'linaer'; did you mean 'linear'?",
        ),
        (
            lambda c: c["train_head"].update(heads=["linear", "milani_v3"]),
            "params.yaml: heads.milani_v3: train_views is all, but extract.augmented_views is 0; "
            "raise that, or set train_views to whole",
        ),
        (
            lambda c: (
                c["train_head"].update(heads=["linear", "linear_sweep"]),
                c["heads"]["linear_sweep"]["head"].update(train_views="all"),
            ),
            "params.yaml: heads.linear_sweep: train_views is all, but extract.augmented_views is "
            "0; raise that, or set train_views to whole",
        ),
        (
            lambda c: c["zoo"]["resnet50"].update(sha256="0" * 64),
            "params.yaml: zoo.resnet50: sha256 is a weights file's, and `weights` is hub",
        ),
        (
            lambda c: c["zoo"].update(both={"concatenate": ["resnet50", "resnet51"]}),
            "params.yaml: zoo.both.concatenate: zoo (without concatenations) has no 'resnet51'; "
            "did you mean 'resnet50'?",
        ),
        (
            lambda c: c["zoo"].update(
                both={"concatenate": ["resnet50", "random"]},
                all={"concatenate": ["both", "inception_v3"]},
            ),
            "params.yaml: zoo.all.concatenate: zoo (without concatenations) has no 'both'; "
            "valid: bundled, inception_v3, pixels, random, resnet18, resnet50",
        ),
        (
            lambda c: c["zoo"].update(both={"concatenate": ["random", "random"]}),
            "params.yaml: zoo.both.concatenate: an alias stands there twice; name each once",
        ),
        (
            lambda c: c["zoo"].update(both={"concatenate": ["random"]}),
            "params.yaml: zoo.both.concatenate: "
            "List should have at least 2 items after validation, not 1",
        ),
        (
            lambda c: c["zoo"].update(both={"concatenate": ["random", "resnet50"], "seed": 1}),
            "params.yaml: zoo.both.seed: unknown key; valid: concatenate",
        ),
        (
            lambda c: (
                c["zoo"].update(both={"concatenate": ["random", "resnet50"]}),
                c["finetune"].update(backbones=["both"]),
            ),
            "params.yaml: finetune.backbones: zoo (without concatenations or layers) has no "
            "'both'; valid: bundled, inception_v3, pixels, random, resnet18, resnet50",
        ),
        (
            lambda c: c["ensembles"]["two"].update(snapshots_of="mini_inception"),
            "params.yaml: ensembles.two: give either `members` or `snapshots_of`",
        ),
        (
            lambda c: c["ensembles"]["two"].pop("members"),
            "params.yaml: ensembles.two: give either `members` or `snapshots_of`",
        ),
        (
            lambda c: c["ensemble"].update(ensembles=["mini_inception_snapshots"]),
            "params.yaml: ensembles.mini_inception_snapshots: 'mini_inception' isn't trained; "
            "name it in train_scratch.networks",
        ),
        (
            lambda c: (
                c["ensemble"].update(ensembles=["mini_inception_snapshots"]),
                c["ensembles"]["mini_inception_snapshots"].update(snapshots_of="mini_inceptoin"),
            ),
            "params.yaml: ensembles.mini_inception_snapshots: networks has no 'mini_inceptoin'; "
            "did you mean 'mini_inception'?",
        ),
    ],
)
def test_one_line_names_the_place_and_the_fix(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], line: str
) -> None:
    assert error(tmp_path, change) == line


def test_inans_score_ensemble_is_valid_with_what_it_wants(tmp_path: Path) -> None:
    content = yaml.safe_load(SHIPPED.read_text())
    content["extract"]["backbones"] = ["resnet18"]
    content["finetune"]["backbones"] = ["resnet18"]
    content["train_scratch"]["networks"] = ["resnet_lstm"]
    content["ensemble"]["ensembles"] = ["inan"]
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
    loaded = config.load_params(tmp_path / "params.yaml")
    assert loaded.ensembles["inan"].members == ["resnet18-finetune", "resnet_lstm"]
    assert loaded.ensembles["inan"].average == "logits"
    assert loaded.networks["resnet_lstm"].trunk == "resnet18"


def test_only_milanis_third_head_learns_from_augmented_views(tmp_path: Path) -> None:
    content = yaml.safe_load(SHIPPED.read_text())
    content["extract"]["augmented_views"] = 4
    content["train_head"]["heads"] = list(content["heads"])
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
    heads = config.load_params(tmp_path / "params.yaml").heads
    assert [alias for alias, head in heads.items() if head.train_views == "all"] == ["milani_v3"]


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        content["evaluate"]["confidence"] = "high"
        content["heads"]["linear"] |= {"epochs": 0, "epocs": 1, "learning_rat": 0.1}
        content["extract"]["bach_size"] = content["extract"].pop("batch_size")
        del content["tsne"]

    lines = error(tmp_path, change).splitlines()
    wrong = ["extract.batch_size", "extract.bach_size", "heads.linear.epochs", "heads.linear.epocs"]
    wrong += ["heads.linear.learning_rat", "evaluate.confidence", "tsne"]
    assert sorted(line.split(": ")[1] for line in lines) == sorted(wrong)


def test_every_section_that_does_not_fit_another_is_told_at_once(tmp_path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        content["train_head"]["heads"] = ["milani_v3"]
        content["ensemble"]["ensembles"] = ["two", "mini_inception_snapshots"]

    lines = error(tmp_path, change).splitlines()
    assert [line.split(": ")[1] for line in lines] == [
        *("heads.milani_v3", "finetune.head", "ensembles.two", "ensembles.two"),
        "ensembles.mini_inception_snapshots",
    ]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            lambda c: (
                c["heads"].update(finetune=c["heads"]["linear"]),
                c["train_head"].update(heads=["linear", "finetune"]),
            ),
            "params.yaml: heads.finetune: another run is named bundled-finetune; rename the alias",
        ),
        (
            lambda c: (
                c["ensembles"].update(
                    resnet14t_small={"members": ["bundled-linear", "bundled-mlp"]}
                ),
                c["ensemble"].update(ensembles=["resnet14t_small"]),
            ),
            "params.yaml: ensembles.resnet14t_small: another run is named resnet14t_small; "
            "rename the alias",
        ),
    ],
)
def test_two_runs_of_one_name_would_write_the_same_files(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], line: str
) -> None:
    assert error(tmp_path, change) == line


def test_a_key_that_stands_twice_in_a_section(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(SHIPPED.read_text().replace("  fit: crop", "  fit: crop\n  fit: stretch"))
    with pytest.raises(
        UserError, match=r"not YAML: 'fit' stands twice in one section, in line 1\d"
    ):
        config.load_params(path)


def test_numbers_as_yaml_1_1_misreads_them_are_numbers(tmp_path: Path) -> None:
    text = SHIPPED.read_text().replace("tune_fraction: 0.2", "tune_fraction: 2e-1")
    (tmp_path / "params.yaml").write_text(text)
    assert config.load_params(tmp_path / "params.yaml").prepare.tune_fraction == 0.2


def test_a_missing_and_a_broken_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is missing; run from the project's root"):
        config.load_params(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("a: [1")
    with pytest.raises(UserError, match="is not YAML"):
        config.load_params(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_bytes("größe: 1".encode("latin-1"))
    with pytest.raises(UserError, match="is not YAML"):
        config.load_params(tmp_path / "params.yaml")
    with pytest.raises(UserError, match=r"can't be read \(Is a directory\)"):
        config.load_params(tmp_path)


def test_the_architectures_read_from_source_are_those_that_timm_registers() -> None:
    import timm

    import headstart.backbones.raw_pixels  # noqa: F401  (registers one more)

    assert config.timm_architectures() == set(timm.list_models())


def test_another_python_than_the_projects_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headstart.config.backbones.find_spec", lambda _: None)
    config.timm_architectures.cache_clear()
    with pytest.raises(UserError, match="has no timm; start DVC and stages through `uv run`"):
        config.load_params(SHIPPED)
