"""Runs a stage in several processes of this host, which torchrun starts and supervises."""

import logging
import os
import signal
import sys
from pathlib import Path

from headstart.core.errors import UserError


def launched_by_torchrun() -> bool:
    """Returns whether torchrun started this process.

    A rank in the environment is not enough: other launchers set one too. The function
    torch.distributed.is_torchelastic_launched does the same, but importing torch takes a second.
    """
    return "TORCHELASTIC_RUN_ID" in os.environ


def launch_processes(module: str, processes: int) -> None:
    """Runs `python -m module` with this process's arguments in several processes, then exits.

    Returns at once if `processes` is 1 or torchrun started this process. SIGTERM and SIGINT end all
    processes.

    Raises:
        UserError: a process failed: its message, or the signal that ended it.
        SystemExit: all processes have ended: status 0, or that of the one that failed with a
            traceback.
        KeyboardInterrupt: SIGINT was received, and all processes have ended.
    """
    if processes == 1 or launched_by_torchrun():
        return
    # Imported here because it takes a second and a single process doesn't need it.
    from torch.distributed import run as torchrun
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    # Without it, torchrun gives each process one thread.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    # Only torchrun logs in this process, and failures are reported below.
    logging.disable()
    options = ("--standalone", "--nproc-per-node", str(processes), "-m", module)
    try:
        torchrun.run(torchrun.parse_args([*options, *sys.argv[1:]]))
    except ChildFailedError as error:
        for failure in error.failures.values():
            if Path(failure.error_file).is_file():
                raise UserError(failure.message) from None
        rank, failure = error.get_first_failure()
        if failure.exitcode < 0:
            name = failure.signal_name()
            raise UserError(f"{name} ended process {rank} of {processes}") from None
        sys.exit(failure.exitcode)
    except SignalException as received:
        if received.sigval == signal.SIGINT:
            raise KeyboardInterrupt from None
        sys.exit(128 + received.sigval)
    sys.exit(0)
