import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from headstart.data.files.block_cache import HELD, BlockCache


def test_each_block_is_read_once_though_many_threads_want_it():
    read = []

    def slowly(key: int) -> int:
        read.append(key)
        time.sleep(0.01)
        return key * key

    blocks = BlockCache(slowly)
    with ThreadPoolExecutor(8) as pool:
        keys = [i // 20 for i in range(200)]
        assert list(pool.map(blocks.__getitem__, keys)) == [key * key for key in keys]
    assert sorted(read) == list(range(10))


def test_few_blocks_are_held():
    read = []
    blocks = BlockCache(lambda key: read.append(key) or key)
    for key in [*range(HELD), 0, HELD, 0, 1]:
        blocks[key]
    assert read == [*range(HELD), HELD, 1]


def test_what_reading_raises_is_raised():
    blocks: BlockCache[int, int] = BlockCache(lambda key: 1 // key)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            blocks[0]
    assert blocks[1] == 1
