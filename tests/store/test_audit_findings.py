from pathlib import Path

from headstart.store.audit_findings import Finding, load_findings, write_findings


def test_findings_are_read_as_they_were_written(tmp_path: Path):
    findings = [
        Finding("=cmd|a.jpg", "val", "-b", "near_duplicate", 0.9876, "t/x\ty.jpg", "train", "a"),
        Finding("", "", "n01", "few_images", 0.25),
    ]
    write_findings(tmp_path / "audit.tsv", findings)
    assert load_findings(tmp_path / "audit.tsv") == findings
    write_findings(tmp_path / "audit.tsv", [])
    assert load_findings(tmp_path / "audit.tsv") == []
