"""What all stages share: their command line, their validated params, and how they fail.

A stage is `python -m stages.<name>`; the paths that it reads and writes stand in dvc.yaml alone.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

# An experiment that DVC queued runs in a copy of the project; it must import that copy's code, not
# the checkout that the environment was installed from.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from headstart import config
from headstart.core.errors import UserError, did_you_mean


def parser(description: str | None, *paths: str, **names: str) -> argparse.ArgumentParser:
    """A command line with one required option a path (`images` becomes `--images PATH`) or name.

    names: option and its help, for what is no path (`backbone="alias in zoo"`).
    """
    made = argparse.ArgumentParser(description=description)
    for path in paths:
        made.add_argument(f"--{path}", type=Path, required=True, metavar="PATH")
    for name, text in names.items():
        made.add_argument(f"--{name}", required=True, help=text)
    return made


Entry = TypeVar("Entry")


def entry(table: Mapping[str, Entry], name: str, alias: str) -> Entry:
    """What `alias` stands for in a table of params.yaml.

    Raises:
        UserError: the table `name` has no such alias.
    """
    if alias not in table:
        raise UserError(f"{name} has no '{alias}'; {did_you_mean(alias, table)}")
    return table[alias]


def run(
    stage: Callable[[argparse.Namespace, config.Params], str],
    arguments: argparse.ArgumentParser,
    load_params: Callable[[], config.Params] = config.load_params,
) -> None:
    """Parses, validates params.yaml, runs `stage` and prints the line of figures that it returns.

    load_params: reads and validates params.yaml.

    What a user can put right ends as one message and exit status 1, without a traceback; in
    a process of torchrun's as the message that torchrun tells.
    """
    args = arguments.parse_args()
    torchruns = os.environ.get("TORCHELASTIC_ERROR_FILE")
    try:
        print(stage(args, load_params()), flush=True)
    except UserError as error:
        if torchruns:
            Path(torchruns).write_text(
                json.dumps({"message": str(error), "timestamp": int(time.time())}), encoding="utf-8"
            )
        sys.exit(1 if torchruns else f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(1 if torchruns else "interrupted; run again to go on")
