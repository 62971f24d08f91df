"""Shows what the caches take on disk; --prune deletes those that no current features need."""

import argparse

from headstart.config import Params
from stages import parser, run


def cache(args: argparse.Namespace, params: Params) -> str:
    from headstart.core.cache_folders import cache_root
    from headstart.extraction.cache_maintenance import list_caches, remove_cache

    lines, freed = [], 0
    for found in list_caches(cache_root(), args.features, params.extract.backbones):
        state = "needed" if found.needed else "not needed"
        if args.prune and not found.needed:
            removed = remove_cache(found)
            state = "deleted" if removed else "in use by a running stage"
            freed += found.size * removed
        name = found.path.relative_to(cache_root())
        lines.append(f"{found.size / 1e6:>10,.1f} MB  {state:<10}  {name}")
    return "\n".join([*lines, f"{cache_root()}: {len(lines)} caches, {freed / 1e6:,.1f} MB freed"])


if __name__ == "__main__":
    arguments = parser(__doc__, "features")
    arguments.add_argument("--prune", action="store_true", help="delete what is not needed")
    run(cache, arguments)
