"""A killed training resumes to the results of an uninterrupted one, even from damaged files."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from headstart.core.errors import UserError
from headstart.training import training_loop
from headstart.training.network_evaluation import Evaluation, MetricSums
from headstart.training.training_loop import train_epoch, train_network
from tests.training.test_training_loop import CPU, Killed, killed_at, network, recipe, task

TOP1 = [0.1, 0.3, 0.2, 0.4, 0.5]
"""Pretended accuracies on tune after each epoch; the two snapshots kept are of epochs 4 and 5."""

EPOCHS = len(TOP1)
STEPS = 4
"""Steps per epoch: 70 images in batches of 16."""


def run(folder: Path, net: nn.Module | None = None) -> tuple[dict[str, bytes], int]:
    """Trains; returns the bytes of the weights and files, and the number of epochs that it took."""
    net = net or network()
    trained_epochs = 0

    def epoch(*args: Any) -> MetricSums:
        nonlocal trained_epochs
        trained_epochs += 1
        return original(*args)

    def tune_stats(network: nn.Module, *_: object) -> Evaluation:
        done = int(network.get_buffer("1.num_batches_tracked")) // STEPS
        return Evaluation(1.0, TOP1[done - 1])

    original = train_epoch
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_loop, "train_epoch", epoch)
        patch.setattr(training_loop, "evaluate_network", tune_stats)
        trained = train_network(net, recipe(epochs=EPOCHS), task(), folder, CPU, 2, "small")
    files = [folder / "curve.tsv", *trained.snapshots]
    contents = {path.name: path.read_bytes() for path in files}
    contents |= {name: tensor.numpy().tobytes() for name, tensor in net.state_dict().items()}
    return contents, trained_epochs


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    contents, epochs = run(tmp_path_factory.mktemp("uninterrupted"))
    assert epochs == EPOCHS
    assert [name[:17] for name in contents][:3] == [
        "curve.tsv",
        "snapshot_00000016",
        "snapshot_00000020",
    ]
    return contents


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was killed in its last epoch."""
    folder = tmp_path_factory.mktemp("killed")
    with pytest.raises(Killed):
        run(folder, killed_at(4 * STEPS + 2))
    return folder


def flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


DAMAGES: dict[str, Callable[[bytes], bytes | None]] = {
    "truncated": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "flipped at the start": lambda content: flipped(content, 0),
    "flipped in the middle": lambda content: flipped(content, len(content) // 2),
    "flipped at the end": lambda content: flipped(content, len(content) - 1),
    "missing": lambda content: None,
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(
    ("names", "epochs", "message"),
    [
        ([], 1, ""),
        (["curve"], 1, ""),
        (["checkpoint_00003"], 1, ""),
        (["checkpoint_00004"], 2, "resumes from checkpoint_00003"),
        (["checkpoint_00004", "checkpoint_00003"], 5, "starts from the beginning"),
        (["snapshot_00000016"], 2, "resumes from checkpoint_00003"),
        (["snapshot_00000008"], 5, "starts from the beginning"),
        (["snapshot_00000004"], 1, ""),
        (["checkpoint_00004", "snapshot_00000004"], 5, "starts from the beginning"),
    ],
)
def test_epochs_with_damaged_files_are_trained_again(
    killed: Path,
    uninterrupted: dict[str, bytes],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    names: list[str],
    epochs: int,
    message: str,
    damage: str,
) -> None:
    folder = tmp_path / "folder"
    shutil.copytree(killed, folder)
    for name in names:
        [path] = folder.glob(f"{name}*")
        if (content := DAMAGES[damage](path.read_bytes())) is None:
            path.unlink()
        else:
            path.write_bytes(content)
    assert run(folder) == (uninterrupted, epochs)
    output = capsys.readouterr().out
    if message and (damage, names[0][:10]) != ("missing", "checkpoint"):
        assert output.startswith(f"small: {names[0]}")
        assert f"can't be read; training {message}" in output
    elif not message:
        assert output == ""
    assert run(folder) == (uninterrupted, 0)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("name", "epochs"), [("snapshot_00000020", 1), ("snapshot_00000016", 5)])
def test_a_damaged_snapshot_of_a_finished_training_is_trained_again(
    killed: Path, uninterrupted: dict[str, bytes], tmp_path: Path, name: str, epochs: int
) -> None:
    folder = tmp_path / "folder"
    shutil.copytree(killed, folder)
    run(folder)
    [path] = folder.glob(f"{name}*")
    path.write_bytes(path.read_bytes()[:-1])
    assert run(folder) == (uninterrupted, epochs)


def test_a_kill_before_any_change_of_a_file_leads_to_the_same_results(
    uninterrupted: dict[str, bytes], tmp_path: Path
) -> None:
    def killed_before(change: int, folder: Path) -> bool:
        """Kills the run before its `change`-th change of a file; returns whether it had so many."""
        left = change

        def counted(real: Callable) -> Callable:
            def counting(*args: Any, **named: Any) -> Any:
                nonlocal left
                left -= 1
                if left < 0:
                    raise Killed
                return real(*args, **named)

            return counting

        with pytest.MonkeyPatch.context() as patch:
            for name in ("replace", "unlink"):
                patch.setattr(Path, name, counted(getattr(Path, name)))
            try:
                run(folder)
            except Killed:
                return True
        return False

    change = 0
    while killed_before(change, folder := tmp_path / str(change)):
        assert run(folder)[0] == uninterrupted
        assert not list(folder.glob(".*"))
        change += 1
    assert change > 3 * EPOCHS


def test_a_full_disk_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match=r"can't write .*\(No space left on device\); make room"):
        run(tmp_path)
