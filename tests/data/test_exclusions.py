from pathlib import Path

import pytest

from headstart.core.errors import UserError
from headstart.data.datasets import Dataset, Record
from headstart.data.exclusions import exclude_images, load_excluded_ids
from headstart.store.audit_findings import Finding, write_findings
from headstart.store.examples import ClassLabel

RECORDS = [Record(f"a/{i}.jpg", 0, "train") for i in range(4)]


def dataset() -> Dataset:
    return Dataset([ClassLabel("a", "a")], RECORDS, lambda id_: b"")


def test_the_audits_own_table_is_taken_as_it_is(tmp_path: Path):
    findings = [
        Finding("a/1.jpg", "train", "a", "outlier", 0.5),
        Finding("a/1.jpg", "train", "a", "wrong_label", 0.9, "b"),
        Finding("", "", "a", "few_images", 0.25),
    ]
    write_findings(tmp_path / "audit.tsv", findings)
    excluded = load_excluded_ids(tmp_path / "audit.tsv")
    assert excluded == {"a/1.jpg"}
    kept = exclude_images(dataset(), excluded)
    assert [record.id for record in kept.records] == ["a/0.jpg", "a/2.jpg", "a/3.jpg"]


def test_a_table_without_rows_leaves_nothing_out(tmp_path: Path):
    (tmp_path / "none.tsv").write_text("id\n")
    assert load_excluded_ids(tmp_path / "none.tsv") == set()
    assert exclude_images(dataset(), set()).records == RECORDS


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name\nx\n", r"has no column 'id', with tabs between columns"),
        ("id,score\nx,1\n", r"has no column 'id'"),
        ("id\tscore\nx\n", r"is no table: it needs a first line"),
        ("", r"is no table"),
        ("\ufeff\xff".encode("latin-1", "replace") + b"\xff\xfe", r"is no table"),
    ],
)
def test_another_table_is_answered(tmp_path: Path, content: str | bytes, message: str):
    table = tmp_path / "table.tsv"
    table.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(UserError, match=rf"^prepare\.exclude: .*table\.tsv {message}"):
        load_excluded_ids(table)


def test_a_missing_table_is_answered(tmp_path: Path):
    with pytest.raises(UserError, match=r"^prepare\.exclude: .* is missing; give a table"):
        load_excluded_ids(tmp_path / "missing.tsv")


def test_an_unknown_id_is_answered_with_the_nearest():
    with pytest.raises(UserError, match=r"1 ids are not .*'a/1\.jpeg'; did you mean 'a/1\.jpg'\?"):
        exclude_images(dataset(), {"a/1.jpeg", "a/2.jpg"})
