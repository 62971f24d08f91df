import pytest
import torch

from headstart.core.devices import own_gpu, resolve_device
from headstart.core.errors import UserError


@pytest.mark.parametrize("available", [True, False])
def test_auto_is_the_gpu_where_there_is_one(
    available: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    monkeypatch.setattr("shutil.which", lambda _: None)
    assert resolve_device("auto").type == ("cuda" if available else "cpu")
    assert resolve_device("cpu").type == "cpu"


def test_a_missing_gpu_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"^device is cuda.*auto or cpu$"):
        resolve_device("cuda")


def test_auto_never_ignores_a_gpu_that_torch_can_not_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("shutil.which", lambda _: "/usr/bin/nvidia-smi")
    with pytest.raises(UserError, match=r"a GPU here that torch can't use.*device to cpu"):
        resolve_device("auto")
    assert resolve_device("cpu").type == "cpu"


def test_more_processes_than_gpus_name_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert own_gpu() == torch.device("cuda", 1)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(UserError, match="than the 2 GPUs of this host; lower `processes`"):
        own_gpu()
