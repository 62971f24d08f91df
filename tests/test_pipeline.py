"""dvc.yaml: what DVC can't find out by itself must be written down, and completely."""

import ast
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "headstart"
PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
STAGES = sorted(path.stem for path in (ROOT / "stages").glob("[!_]*.py"))


def module_file(name: str) -> Path | None:
    """The file of a local module, `headstart.x` or `stages`."""
    base = ROOT if name.split(".")[0] == "stages" else ROOT / "src"
    path = base.joinpath(*name.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def imported(file: Path) -> set[Path]:
    """The local files that `file` imports, at its top or inside its functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    local = {name for name in names if name.split(".")[0] in ("headstart", "stages")}
    packages = {".".join(name.split(".")[:i]) for name in local for i in range(1, 5)}
    return {found for name in local | packages if (found := module_file(name))}


def closure(file: Path) -> set[Path]:
    """The local files that `file` imports, and those that they import.

    Not those of headstart/__init__.py, which imports its public names when they are used.
    """
    files, fresh = {file}, {file}
    while fresh:
        fresh = set().union(*map(imported, fresh - {SOURCE / "__init__.py"})) - files
        files |= fresh
    return files


def script(stage: str) -> str:
    """The module of `stages` that a stage of dvc.yaml runs."""
    return re.findall(r"-m stages\.(\w+)", PIPELINE[stage]["cmd"])[0]


def test_a_stage_bears_its_scripts_name_and_every_script_has_a_stage() -> None:
    assert {script(stage) for stage in PIPELINE} == set(STAGES)
    for stage in PIPELINE:
        assert stage == script(stage) or stage.startswith(f"{script(stage)}_")


def package(file: Path) -> str:
    """The package of headstart that holds `file`, or the loose module that it is."""
    return file.relative_to(SOURCE).parts[0]


@pytest.mark.parametrize("stage", PIPELINE)
def test_deps_name_every_package_that_the_stage_imports(stage: str) -> None:
    files = closure(ROOT / "stages" / f"{script(stage)}.py") - {SOURCE / "__init__.py"}
    needed = {
        f"src/headstart/{package(file)}"
        if file.is_relative_to(SOURCE)
        else str(file.relative_to(ROOT))
        for file in files
    }
    written = {dep for dep in PIPELINE[stage]["deps"] if dep.startswith(("src/", "stages/"))}
    assert sorted(written) == sorted(needed)
    assert len(written) <= 11


@pytest.mark.parametrize("stage", PIPELINE)
def test_a_command_names_only_paths_that_are_declared(stage: str) -> None:
    declared = [*PIPELINE[stage]["deps"], *outs(stage)]
    for path in re.findall(r" ((?:data|results|report)\S*)", PIPELINE[stage]["cmd"]):
        assert any(path == d or d.startswith(f"{path}/") or path.startswith(d) for d in declared)


def outs(stage: str) -> list[str]:
    every = (*PIPELINE[stage]["outs"], *PIPELINE[stage].get("metrics", []))
    return [out if isinstance(out, str) else next(iter(out)) for out in every]


def before(stage: str) -> set[str]:
    """The stages that DVC runs before this one."""
    direct = {
        other
        for other in PIPELINE
        for out in outs(other)
        if any(out == dep or out.startswith(f"{dep}/") for dep in PIPELINE[stage]["deps"])
    }
    return direct.union(*map(before, direct))


@pytest.mark.parametrize("stage", sorted(set(PIPELINE) - {"validate"}))
def test_params_are_validated_before_dvc_uses_them(stage: str) -> None:
    assert "validate" in before(stage)
    assert "${" not in str(PIPELINE["validate"])


ARROWS = {
    "core": set(),
    "metrics": set(),
    "networks": set(),
    "config": {"core"},
    "store": {"core"},
    "plotting.py": {"core"},
    "data": {"config", "core", "store"},
    "backbones": {"config", "core"},
    "runtime": {"backbones", "core"},
    "extraction": {"backbones", "config", "core", "runtime", "store"},
    "heads": {"config", "core", "metrics", "store"},
    "training": {
        *("backbones", "config", "core", "extraction", "heads", "metrics", "networks", "store"),
    },
    "audit": {"config", "core", "heads", "metrics", "store"},
    "evaluation": {"config", "core", "heads", "metrics", "store"},
    "localization": {"backbones", "config", "core", "metrics", "store"},
    "report": {"core", "metrics", "plotting.py", "store"},
    "page": {"core", "metrics", "report", "store"},
    "packaging": {"config", "core", "store"},
    "inference": {
        *("backbones", "config", "core", "data", "evaluation", "extraction", "heads", "metrics"),
        *("packaging", "runtime", "store", "training"),
    },
    "export": {
        *("backbones", "core", "data", "extraction", "heads", "inference", "metrics"),
        *("packaging", "runtime", "store", "training"),
    },
    "attribution.py": {"backbones", "config", "core", "heads", "training"},
    "api": {
        *("backbones", "config", "core", "data", "evaluation", "extraction", "heads", "inference"),
        *("metrics", "packaging", "runtime", "store"),
    },
    "__init__.py": {"api", "core", "store"},
    "cli": {
        *("api", "backbones", "config", "core", "data", "export", "extraction", "inference"),
        *("store", "training"),
    },
}
"""Each package and each loose module with all that it imports; nothing imports what is below.

Of headstart/__init__.py only its public names count, which it loads when they are asked for.
"""


def test_packages_import_each_other_as_the_table_says() -> None:
    found: dict[str, set[str]] = {}
    for file in SOURCE.rglob("*.py"):
        others = {package(other) for other in imported(file) - {SOURCE / "__init__.py"}}
        found.setdefault(package(file), set()).update(others - {package(file)})
    assert found == ARROWS


def test_the_table_has_no_circle() -> None:
    above: set[str] = set()
    for name, others in ARROWS.items():
        assert others <= above, f"{name} imports what stands below it"
        above.add(name)


def test_few_modules_are_in_no_package() -> None:
    assert len(list(SOURCE.glob("*.py"))) <= 6


TRAINED = {"extract", "train_head", "train_scratch", "finetune"}
"""The stages that take hours."""

EDITS = {
    "src/headstart/report/comparison.py": {"compare", "report"},
    "src/headstart/report/tsne_figure.py": {"compare", "report"},
    "src/headstart/report/conclusions.py": {"compare", "report"},
    "src/headstart/page/html_page.py": {"report"},
    "src/headstart/data/datasets/image_folder.py": {"validate", "prepare", "resize"},
    "src/headstart/data/decoding.py": {"validate", "prepare", "resize"},
}
"""Files, and the stages that an edit of each runs again. tests/test_full_run.py asks DVC, too."""


@pytest.mark.parametrize("file", EDITS)
def test_an_edit_concerns_only_stages_that_it_may_change(file: str) -> None:
    assert (ROOT / file).is_file()
    edited = {
        stage
        for stage in PIPELINE
        if any(file == dep or file.startswith(f"{dep}/") for dep in PIPELINE[stage]["deps"])
    }
    assert edited == EDITS[file]
    assert not edited & TRAINED


def test_dependencies_point_one_way() -> None:
    for file in (ROOT / "src").rglob("*.py"):
        assert not any("stages" in f.parts for f in imported(file) if f != file), file
    for file in (ROOT / "src" / "headstart" / "networks").glob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        modules = {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
        modules |= {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
        outside = {m.split(".")[0] for m in modules} - {"torch", "math", "collections", "typing"}
        assert outside <= {"headstart", "functools", "dataclasses"}, file


NETWORKS = {
    *("attribution", "extract", "finetune", "learning_curve", "localize", "train_head"),
    "train_scratch",
    "package",  # asks timm for the license of weights from the hub
    "sheets",  # augments an image as training does
}


@pytest.mark.parametrize("stage", sorted(set(STAGES) - NETWORKS))
def test_a_stage_that_runs_no_network_imports_neither_torch_nor_timm(stage: str) -> None:
    for file in closure(ROOT / "stages" / f"{stage}.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            assert not {name.split(".")[0] for name in names} & {"torch", "timm"}, file


@pytest.mark.parametrize("stage", STAGES)
def test_heavy_imports_wait_until_the_command_line_is_valid(stage: str) -> None:
    """`--help` and a typo's error answer at once: nothing heavy at the top of a stage."""
    tree = ast.parse((ROOT / "stages" / f"{stage}.py").read_text(encoding="utf-8"))
    top = {node.module for node in tree.body if isinstance(node, ast.ImportFrom)}
    top |= {
        alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names
    }
    assert top <= {"argparse", "headstart.config", "stages", "json", "os", "typing"}
