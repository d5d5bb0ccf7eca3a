from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glancearchive.format.encoding import MAX_DEPTH, MAX_VALUES, pack, unpack

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary()
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)
)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), values, max_size=5))
def test_what_is_packed_is_unpacked(value: dict[str, Any]) -> None:
    packed = pack(value)
    assert unpack(packed) == value
    assert pack(unpack(packed)) == packed


def test_keys_come_in_order() -> None:
    assert pack({"b": 1, "é": 3, "a": 2}) == bytes.fromhex("83a16102a16201a2c3a903")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param("81a161cc01", id="integer not in its shortest form"),
        pytest.param("81a161d001", id="signed form of a non-negative integer"),
        pytest.param("81d90161c0", id="str not in its shortest form"),
        pytest.param("de0001a161c0", id="map not in its shortest form"),
        pytest.param("81a161dc0000", id="array not in its shortest form"),
        pytest.param("82a162c0a161c0", id="keys out of order"),
        pytest.param("82a161c0a161c0", id="a key twice"),
        pytest.param("81a161ca3f800000", id="float 32"),
        pytest.param("81a161cb7ff8000000000000", id="NaN"),
        pytest.param("81a161cb7ff0000000000000", id="infinity"),
        pytest.param("81a161d40100", id="extension type"),
        pytest.param("81a161d6ff00000000", id="timestamp"),
        pytest.param("81a161a1ff", id="no UTF-8"),
        pytest.param("81a161a3eda080", id="a surrogate"),
        pytest.param("81c40161c0", id="a key that is bin"),
        pytest.param("8101c0", id="a key that is an integer"),
        pytest.param("80c0", id="bytes after the map"),
        pytest.param("90", id="no map"),
        pytest.param("81a161dd01000000" + "90" * (1 << 24), id="more values than are allowed"),
        pytest.param("", id="nothing"),
        pytest.param("81a161", id="cut"),
        pytest.param("81a161ddffffffff", id="an array longer than the record"),
        pytest.param("81a161" + "dd00ffffff" * 500 + "c0" * (1 << 24), id="arrays that claim far more than there is"),
        pytest.param("81a161" + "91" * MAX_DEPTH + "c0", id="nested too deep"),
        pytest.param("81a161" + "91" * 100_000 + "c0", id="nested far too deep"),
    ],
)
def test_refused(data: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        unpack(bytes.fromhex(data))


def test_depth_up_to_the_limit() -> None:
    value: Any = None
    for _ in range(MAX_DEPTH - 1):
        value = [value]
    assert unpack(pack({"a": value})) == {"a": value}


@pytest.mark.parametrize("value", [2**64, "\ud800", float("nan"), object(), {1: 2}, {"a": {3}}])
def test_what_the_format_cannot_express(value: Any) -> None:
    with pytest.raises(ValueError, match=r".+"):
        pack({"a": value})


def test_plain_messagepack_agrees() -> None:
    assert msgpack.unpackb(pack({"a": [1, b"x", None]})) == {"a": [1, b"x", None]}


@pytest.mark.parametrize("extension", [b"\xd6\xff\xc6\xff\xff\xff", b"\xc7\x05\x01", b"\xc1"])
def test_nothing_hides_values_from_being_counted(extension: bytes) -> None:
    with pytest.raises(ValueError, match="a value of type"):
        unpack(b"\x81\xa1x" + extension + b"\x80" * (MAX_VALUES + 1))
