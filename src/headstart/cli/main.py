"""The command `headstart`: its arguments, and how it fails.

A subcommand's module imports what it needs when it runs, so that `--help` and an error in the
arguments answer at once.
"""

import argparse
import sys
from collections.abc import Sequence

from headstart.cli import bundle, cache, check, classify, export, extract, layers
from headstart.core.errors import UserError

COMMANDS = (check, classify, export, extract, layers, cache, bundle)

DESCRIPTION = (
    "Transfer learning on cached features. The pipeline itself runs with `dvc repro`; these "
    "commands check a project before it, and use what it has trained."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one subcommand, prints the text that it returns, and returns the exit status.

    argv: the arguments after the command's name; by default those of the process. A UserError
    becomes one message on stderr and status 1, without a traceback.
    """
    parser = _parser()
    args = parser.parse_args(argv)
    if args.command is None:
        parser.print_help()
        return 0
    try:
        print(args.execute(args), flush=True)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; run again to go on", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="headstart", description=DESCRIPTION)
    parser.add_argument("--version", action=_Version, nargs=0, help="Show the version and exit.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for module in COMMANDS:
        name = module.__name__.rpartition(".")[2]
        subparser = commands.add_parser(name, help=module.SUMMARY, description=module.DESCRIPTION)
        module.add_arguments(subparser)
        subparser.set_defaults(execute=module.run)
    return parser


class _Version(argparse.Action):
    """Looks the installed version up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"headstart {version('headstart')}")
        parser.exit()
