"""A stage in several processes of this host, which torchrun starts, watches and ends."""

import logging
import os
import signal
import sys
from pathlib import Path

from headstart.core.errors import UserError


def launched_by_torchrun() -> bool:
    """Whether torchrun started this process.

    Others than torchrun set ranks too; only under torchrun are all of the processes started.
    torch.distributed.is_torchelastic_launched says the same after a second of importing torch.
    """
    return "TORCHELASTIC_RUN_ID" in os.environ


def launch_processes(module: str, processes: int) -> None:
    """Starts `python -m module`, with this process's arguments, in so many processes, and exits
    when they are done; returns where one is enough or torchrun started this process.

    SIGTERM and SIGINT end all of them.

    Raises:
        UserError: what the first process that failed had to say, or the signal that ended it.
        SystemExit: all are done; or one failed with a traceback: its exit status.
        KeyboardInterrupt: by SIGINT; the processes have ended.
    """
    if processes == 1 or launched_by_torchrun():
        return
    # Imported here as it takes a second, and one process does without.
    from torch.distributed import run as torchrun
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    # With none set torchrun gives each process one thread.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // processes)))
    # Nothing but torchrun runs here, and what failed is said below, once.
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
