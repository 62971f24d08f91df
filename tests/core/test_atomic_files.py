import csv
import errno
import os
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.core.atomic_files import atomic_path, read_tsv, tsv_writer, write_text
from headstart.core.errors import UserError
from headstart.core.hdf5_files import create_hdf5
from headstart.data.manifest import Manifest, save_manifest
from headstart.plotting import save_figure
from headstart.store.crop_accuracies import write_crop_accuracies

SIGNS = "'\"=+-@\t\r\n ＝0aé"
CELLS = st.text(SIGNS, max_size=6) | st.text(st.characters(codec="utf-8"), max_size=6)


def hdf5(path: Path) -> None:
    with create_hdf5(path) as file:
        file.create_dataset("x", data=np.arange(3))


def figure(path: Path) -> None:
    with save_figure(path, 2, 2) as canvas:
        canvas.subplots()


WRITERS: dict[str, Callable[[Path], None]] = {
    "out.md": lambda path: write_text(path, "grün\n"),
    "out.tsv": lambda path: write_crop_accuracies(path, []),
    "out.svg": figure,
    "out.png": figure,
    "out.h5": hdf5,
    "out.jsonl": lambda path: save_manifest(path, Manifest([], [])),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_hard_link_to_the_replaced_file_keeps_its_content(tmp_path: Path, name: str):
    path, cached = tmp_path / "new" / name, tmp_path / "cached"
    WRITERS[name](path)
    expected = path.read_bytes()
    cached.write_bytes(b"an older result")
    path.unlink()
    path.hardlink_to(cached)
    WRITERS[name](path)
    assert cached.read_bytes() == b"an older result"
    assert path.read_bytes() == expected
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("name", WRITERS)
def test_a_path_that_can_not_be_written_is_named(tmp_path: Path, name: str):
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / name
    with pytest.raises(UserError, match=rf"can't write {path} \(.+\); make room"):
        WRITERS[name](path)
    folder = tmp_path / name
    folder.mkdir()
    (folder / "notes.txt").write_text("of the user")
    with pytest.raises(UserError, match=rf"can't write {folder} \(Is a directory\)"):
        WRITERS[name](folder)
    assert {entry.name for entry in tmp_path.iterdir()} == {"file", name}


def test_a_table_is_tab_separated_utf_8(tmp_path: Path):
    with tsv_writer(tmp_path / "a.tsv") as table:
        table.writerow(["ö", 1, "a\tb"])
    assert (tmp_path / "a.tsv").read_bytes() == 'ö\t1\t"a\tb"\n'.encode()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(CELLS, min_size=3, max_size=3), max_size=5))
def test_a_table_is_read_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, body: list):
    path = tmp_path_factory.mktemp("tables") / "a.tsv"
    with tsv_writer(path) as table:
        table.writerow(["id", "=name", "top1"])
        table.writerows(body)
    assert [list(row.values()) for row in read_tsv(path)] == body
    assert all(list(row) == ["id", "=name", "top1"] for row in read_tsv(path))


@pytest.mark.parametrize("name", ["=cmd|'/c calc'!A1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_cell_is_a_formula_to_a_spreadsheet(tmp_path: Path, name: str):
    with tsv_writer(tmp_path / "a.tsv") as table:
        table.writerow([name, "-0.5", -0.5, "1e-05", "nan", "don't"])
    with (tmp_path / "a.tsv").open(newline="", encoding="utf-8") as file:
        [cells] = csv.reader(file, "excel-tab")
    assert cells == [f"'{name}", "-0.5", "-0.5", "1e-05", "nan", "don't"]


def test_a_failing_body_leaves_the_old_file(tmp_path: Path):
    path = tmp_path / "a.txt"
    path.write_text("before")

    def interrupted() -> None:
        with atomic_path(path) as unfinished:
            unfinished.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("create", [atomic_path, create_hdf5])
def test_a_full_disk_is_a_user_error_and_a_failed_read_is_not(tmp_path: Path, create: Callable):
    path = tmp_path / "out"
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with (
        pytest.raises(UserError, match=r"can't write .*out \(No space left on device\)"),
        create(path),
    ):
        raise full
    with pytest.raises(FileNotFoundError, match="elsewhere"), create(path):
        (tmp_path / "elsewhere").read_bytes()
    with pytest.raises(OSError, match="filter returned failure"), create(path):
        raise OSError("Can't synchronously read data (filter returned failure during read)")
    assert not list(tmp_path.iterdir())


def test_hdf5_can_not_flush_its_buffers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    close = h5py.File.close

    def failing_close(file: h5py.File) -> None:
        close(file)
        raise RuntimeError("Can't decrement id ref count (errno = 28)")

    monkeypatch.setattr(h5py.File, "close", failing_close)
    with pytest.raises(UserError, match=r"can't write .*a\.h5 "):
        hdf5(tmp_path / "a.h5")
    assert not list(tmp_path.iterdir())
