import base64
import json
import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.page.embedding import embed_json, pack_array, pack_integers, round_floats


@settings(max_examples=40)
@given(st.text() | st.sampled_from(["</script>", "<!--<script>", "]]>", "\u2028"]))
def test_no_text_ends_its_script_element_and_none_is_changed(text: str):
    embedded = embed_json({text: [text]})
    assert "<" not in embedded
    assert json.loads(embedded) == {text: [text]}


@pytest.mark.parametrize(
    ("greatest", "dtype"),
    [(0, "uint8"), (255, "uint8"), (256, "uint16"), (65_536, "uint32"), (2**32 - 1, "uint32")],
)
def test_integers_are_packed_in_the_narrowest_type(greatest: int, dtype: str):
    packed = pack_integers(np.array([[0, greatest]]))
    assert packed["dtype"] == dtype
    read = np.frombuffer(base64.b64decode(packed["base64"]), np.dtype(dtype).newbyteorder("<"))
    assert read.tolist() == [0, greatest]


def test_an_empty_array_is_packed():
    assert pack_integers(np.zeros(0, np.int64)) == {"dtype": "uint8", "base64": ""}


def test_bytes_are_little_endian_on_every_machine():
    assert base64.b64decode(pack_array(np.array([1], ">u2"))["base64"]) == b"\x01\x00"


def test_what_is_no_number_becomes_null():
    assert round_floats([0.123456, math.nan]) == [0.1235, None]
    assert re.fullmatch(r"\[null\]", embed_json(round_floats([math.nan])))
