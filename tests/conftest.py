"""Runs before torch is imported: with a process a core, more threads would only wait."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
