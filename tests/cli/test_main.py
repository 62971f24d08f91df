"""The command line itself: help, errors and exit statuses, and where a project is found."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from headstart.cli import check, project_folder
from headstart.cli.main import COMMANDS, main
from headstart.core.errors import UserError
from tests import cases

NAMES = [module.__name__.rpartition(".")[2] for module in COMMANDS]
HEAVY = {"torch", "timm", "numpy", "h5py", "pyarrow", "pydantic", "sklearn", "yaml"}


def test_without_a_command_there_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert all(f"    {name} " in shown for name in NAMES)


def test_the_installed_script() -> None:
    script = Path(sys.executable).with_name("headstart")
    run = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert run.stdout == f"headstart {version('headstart')}\n"
    failed = subprocess.run(
        [script, "check", "--project", "/"], capture_output=True, text=True, check=False
    )
    assert failed.returncode == 1
    assert failed.stdout == ""
    assert failed.stderr.startswith("error: / is not in a project")


@pytest.mark.parametrize("name", NAMES)
def test_each_command_has_help_in_sentences(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([name, "--help"])
    assert capsys.readouterr().out.startswith(f"usage: headstart {name}")
    [module] = [module for module in COMMANDS if module.__name__.endswith(f".{name}")]
    assert module.SUMMARY.endswith(".")
    assert module.DESCRIPTION.endswith(".")


@pytest.mark.parametrize(
    "arguments",
    [["classify", "--help"], ["extract", "here"], ["check", "--project", "/"], ["classfy"]],
    ids=" ".join,
)
def test_help_and_errors_import_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\n"
        "from headstart.cli.main import main\n"
        "try:\n"
        "    main(sys.argv[1:])\n"
        "except SystemExit:\n"
        "    pass\n"
        "print(*sys.modules, sep='\\n', file=sys.stderr)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    assert not HEAVY & set(run.stderr.splitlines())


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (UserError("set x to 1"), "error: set x to 1\n"),
        (KeyboardInterrupt(), "interrupted; run again to go on\n"),
    ],
)
def test_what_a_user_can_put_right_is_one_message(
    raised: BaseException,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(_: object) -> str:
        raise raised

    monkeypatch.setattr(check, "run", fail)
    assert main(["check"]) == 1
    assert capsys.readouterr().err == told


def test_the_paths_of_a_project_are_those_of_the_pipeline() -> None:
    stages = yaml.safe_load((cases.ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    outs = [
        out if isinstance(out, str) else next(iter(out))
        for stage in stages.values()
        for out in stage["outs"]
    ]
    assert str(project_folder.IMAGES) in outs
    assert str(project_folder.MODELS) in outs
    for folder in (project_folder.FEATURES, project_folder.TRAINED):
        assert any(out.startswith(f"{folder}/${{") for out in outs)


def test_bundle_names_the_entry_of_zoo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.training.test_backbone_export import save_trained

    cases.write_project(tmp_path)
    for name in ("small", "other"):
        (tmp_path / "data/trained" / name).mkdir(parents=True)
    save_trained(tmp_path / "data/trained/small/model.safetensors")
    (tmp_path / "data/trained/other/head.safetensors").touch()
    monkeypatch.setattr("headstart.config.backbones.BUNDLED", tmp_path / "bundled")
    cases.run_command("bundle", "small", "--project", str(tmp_path))
    assert (tmp_path / "bundled/resnet14t.safetensors").exists()
    assert "architecture: resnet14t" in capsys.readouterr().out
    with pytest.raises(SystemExit, match=r"other.* isn't a network that train_scratch trained"):
        cases.run_command("bundle", "other", "--project", str(tmp_path))
    with pytest.raises(SystemExit, match=r"no trained run 'smal'; did you mean 'small'\?"):
        cases.run_command("bundle", "smal", "--project", str(tmp_path))
