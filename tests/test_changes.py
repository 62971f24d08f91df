"""A change in params.yaml runs what depends on it again, whatever ran before.

DVC's run cache remembers every run that ever was, and what it hashes leaves out some keys.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from dvc.stage.cache import _get_cache_hash
from dvc_data.hashfile.meta import Meta

from headstart import config
from headstart.config.validation import KEYS_THAT_DVC_IGNORES
from headstart.data.datasets import ImageFolder

ROOT = Path(__file__).parent.parent
SHIPPED = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
TABLES = {
    "zoo": "bundled",
    "heads": "linear",
    "recipes": "small",
    "networks": "resnet14t_small",
    "ensembles": "two",
}
"""An alias of each table that stages choose from."""


def declared() -> Iterator[str]:
    """Every key that a stage of dvc.yaml declares, with an alias for `${item.…}`."""
    for stage in STAGES.values():
        for key in stage.get("params", []):
            table, _, rest = key.partition(".")
            yield f"{table}.{TABLES[table]}" if rest.startswith("${") else key


KEYS = sorted(set(declared()))


def leaves(content: Any) -> Iterator[tuple[str | int, ...]]:
    """The path of every value that is no table, itself a `()`."""
    if not isinstance(content, dict):
        yield ()
        return
    for key, value in content.items():
        for path in leaves(value):
            yield (key, *path)


def at(content: Any, path: tuple[str | int, ...]) -> Any:
    for key in path:
        content = content[key]
    return content


def with_changed(content: Any, path: tuple[str | int, ...]) -> Any:
    """`content` but for another value at `path`."""
    if not path:
        return "another"
    return content | {path[0]: with_changed(content[path[0]], path[1:])}


def sections(of: type[config.Section] = config.Section) -> Iterator[type[config.Section]]:
    for section in of.__subclasses__():
        yield section
        yield from sections(section)


def run_cache(values: dict[str, Any]) -> str:
    """What DVC's run cache would look a stage with these params up by."""
    return _get_cache_hash({"cmd": "true", "params": {"params.yaml": values}})


def test_the_run_cache_sees_a_change_of_every_value_that_a_stage_declares() -> None:
    checked = 0
    for key in KEYS:
        section = at(SHIPPED, tuple(key.split(".")))
        for path in leaves(section):
            changed = with_changed(section, path)
            assert run_cache({key: changed}) != run_cache({key: section}), (key, *path)
            checked += 1
    assert checked > 100


def test_the_run_cache_sees_every_key_that_params_yaml_may_have() -> None:
    assert ImageFolder in sections()  # the readers' sections too
    fields = {name for section in sections() for name in section.model_fields}
    assert {"side", "input_size", "path"} < fields
    for name in fields:
        assert run_cache({"zoo": {name: 0}}) != run_cache({"zoo": {name: 1}}), name


def test_the_keys_that_are_refused_are_those_that_the_run_cache_leaves_out() -> None:
    # What DVC writes of files, and what it writes beside them.
    names = {value for name, value in vars(Meta).items() if name.startswith("PARAM_")}
    names |= {"path", "hash", "desc", "meta", "persist", "cache", "cmd", "deps", "outs", "params"}
    left_out = {name for name in names if run_cache({name: 0}) == run_cache({name: 1})}
    assert left_out == KEYS_THAT_DVC_IGNORES


def dvc(project: Path, *arguments: str) -> str:
    """What it prints; it must succeed."""
    ran = subprocess.run(
        [Path(sys.executable).parent / "dvc", *arguments],
        cwd=project,
        env=os.environ | {"DVC_NO_ANALYTICS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def a_leaf(section: Any) -> tuple[str | int, ...]:
    """The path of the first number, or else of the first value."""
    paths = list(leaves(section))
    return next((p for p in paths if isinstance(at(section, p), int | float)), paths[0])


def test_every_declared_table_runs_its_stage_again_and_back(tmp_path: Path) -> None:
    """A stage for each table that dvc.yaml declares, which copies its params and does no more."""
    # DVC reads and writes all values some times a stage: few of them, as JSON, keep this fast.
    few = SHIPPED | {table: {alias: SHIPPED[table][alias]} for table, alias in TABLES.items()}
    tables = {key: tuple(key.split(".")) for key in KEYS}
    tables = {key: above for key, above in tables.items() if isinstance(at(few, above), dict)}
    names = [key.replace(".", "-") for key in tables]
    (tmp_path / "dep").write_text("without one nothing goes into the run cache")
    made = {
        name: {
            "cmd": f"cp params.json {name}",
            "deps": ["dep"],
            "params": [{"params.json": [key]}],
            "outs": [name],
        }
        for name, key in zip(names, tables, strict=True)
    }
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": made}))
    path = tmp_path / "params.json"
    path.write_text(json.dumps(few))
    dvc(tmp_path, "init", "--no-scm", "--quiet")
    dvc(tmp_path, "repro")

    changed = few
    for above in tables.values():
        changed = with_changed(changed, (*above, *a_leaf(at(few, above))))
    assert changed["resize"]["side"] == "another"
    assert changed["networks"]["resnet14t_small"]["input_size"] == "another"
    path.write_text(json.dumps(changed))
    told = dvc(tmp_path, "repro")
    assert [name for name in names if f"Running stage '{name}'" not in told] == []

    path.write_text(json.dumps(few))
    told = dvc(tmp_path, "repro")
    assert [name for name in names if f"Stage '{name}' is cached" not in told] == []
    for name in names:
        assert (tmp_path / name).read_bytes() == path.read_bytes()
