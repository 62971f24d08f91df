"""`-m tests.in_processes --folder FOLDER --mode MODE`: a stage that runs in two processes.

Each writes FOLDER/<rank>, and then does what MODE says.
"""

import os
import signal
import sys
import time

from headstart.core.errors import UserError
from headstart.core.torchrun import launch_processes
from stages import parser, run


def stage(args, params):
    launch_processes("tests.in_processes", 2)
    rank = os.environ["RANK"]
    there = args.folder / rank
    unfinished = there.with_suffix(".tmp")
    unfinished.write_text(f"{os.getpid()} {os.environ['OMP_NUM_THREADS']} {args.mode}")
    unfinished.replace(there)
    if args.mode == "fail":
        raise UserError("something is wrong; mend it")
    if args.mode in ("crash", "die", "wait"):
        if rank == "1":
            if args.mode == "crash":
                sys.exit(3)
            if args.mode == "die":
                os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(600)
    return f"rank {rank} is done"


if __name__ == "__main__":
    run(stage, parser(__doc__, "folder", mode="what becomes of it"))
