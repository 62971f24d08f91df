"""`headstart cache`: what the caches of a project take on disk, and removing what is not needed."""

import argparse

from headstart.cli.project_folder import (
    FEATURES,
    add_project_argument,
    open_project,
    require_project,
)

SUMMARY = "Show what the caches take on disk; delete those that are not needed."
DESCRIPTION = (
    "Shows what the project's caches take on disk, and which of them its current features came "
    "from. Nothing is deleted unless --prune or --verify says so."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_project_argument(parser)
    parser.add_argument(
        "--prune", action="store_true", help="Delete the caches that no current features need."
    )
    parser.add_argument(
        "--verify",
        action="store_true",
        help="Read all cached features, and delete what is damaged; it is computed again when it "
        "is needed.",
    )


def run(args: argparse.Namespace) -> str:
    project = require_project(args.project)

    from headstart.core.cache_folders import ROWS, cache_root
    from headstart.extraction.cache_maintenance import list_caches, remove_cache, verify_cache

    lines, freed = [], 0
    with open_project(project) as params:
        root = cache_root()
        for cache in list_caches(root, FEATURES, params.extract.backbones):
            state = "needed" if cache.needed else "not needed"
            if args.prune and not cache.needed:
                removed = remove_cache(cache)
                state = "deleted" if removed else "in use by a running stage"
                freed += cache.size * removed
            elif args.verify and cache.path.parent.name == ROWS:
                state += f", {_verification(verify_cache(cache))}"
            name = cache.path.relative_to(root)
            lines.append(f"{cache.size / 1e6:>10,.1f} MB  {state:<10}  {name}")
        location = root.resolve()
    return "\n".join([*lines, f"{location}: {len(lines)} caches, {freed / 1e6:,.1f} MB freed"])


def _verification(outcome: tuple[int, int] | None) -> str:
    if outcome is None:
        return "not verified: in use by a running stage"
    parts, damaged = outcome
    return f"parts: {parts}, damaged and deleted: {damaged}"
