"""Several processes share keys without speaking: each key is one process's, whoever asks."""

import numpy as np
import pytest
from torch.distributed import is_torchelastic_launched

from headstart.core.torchrun import launched_by_torchrun
from headstart.extraction.shares import Share


@pytest.mark.parametrize("world", [1, 2, 3, 8])
def test_every_key_is_one_processs(world: int) -> None:
    keys = np.frombuffer(np.random.default_rng(0).bytes(16 * 5000), "S16")
    shares = [Share(rank, world).select(keys) for rank in range(world)]
    assert sorted(np.concatenate(shares)) == sorted(keys)
    assert min(map(len, shares)) > 0.9 * len(keys) / world
    assert (Share(0, world).select(keys[::-1]) == shares[0][::-1]).all()


def test_ranks_count_under_torchrun_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert not launched_by_torchrun()
    assert not is_torchelastic_launched()
    assert Share.from_torchrun() == Share(0, 1)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    assert launched_by_torchrun()
    assert is_torchelastic_launched()
    assert Share.from_torchrun() == Share(1, 4)
