"""Runs before torch is imported: with a process a core, more threads would only wait."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from pathlib import Path

import pytest
from hypothesis import settings

# A slow machine is no bug of the code under test.
settings.register_profile("project", deadline=None)
settings.load_profile("project")


@pytest.fixture(scope="session")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a project with a model folder for every kind of run."""
    from tests.packaged import make_project

    folder = tmp_path_factory.mktemp("packaged")
    make_project(folder)
    return folder
