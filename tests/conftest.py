"""Runs before torch is imported: with a process a core, more threads would only wait."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from hypothesis import settings

# A slow machine is no bug of the code under test.
settings.register_profile("project", deadline=None)
settings.load_profile("project")
