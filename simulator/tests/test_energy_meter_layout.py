# SPDX-License-Identifier: Apache-2.0
"""Windows' energy meters: their layouts byte for byte."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_simulator import Machine
from raplica_simulator.windows.energy_meter_layout import (
    GET_MEASUREMENT,
    GET_METADATA,
    GET_METADATA_SIZE,
    GET_VERSION,
    pack_measurement,
    pack_metadata_v1,
    pack_metadata_v2,
)

from .emi_program import Meter, channels_of, meters, name_of_v1


@pytest.fixture(scope="module")
def kabylake() -> Meter:
    """A meter for questions that change nothing."""
    (meter,) = meters(Machine.from_profile("kabylake"))
    return meter


def test_the_codes_are_those_of_emi_h() -> None:
    codes = [GET_VERSION, GET_METADATA_SIZE, GET_METADATA, GET_MEASUREMENT]
    assert [code.value for code in codes] == [0x224000, 0x224004, 0x224008, 0x22400C]


def test_metadata_of_version_2_is_laid_out_to_the_byte() -> None:
    expected = (
        "4100" + "00" * 30  # the maker, 16 letters
        + "42004300" + "00" * 28  # the model
        + "0700" + "0200"  # revision, channels
        + "00000000" + "0600" + "500051000000"  # unit, size with its NUL, name
        + "00000000" + "0400" + "52000000"
    )  # fmt: skip
    assert pack_metadata_v2("A", "BC", 7, ["PQ", "R"]).hex() == expected


def test_metadata_of_version_1_is_laid_out_to_the_byte() -> None:
    expected = "00000000" + "4100" + "00" * 30 + "42004300" + "00" * 28 + "0700" + "0600" + "500051000000"
    assert pack_metadata_v1("A", "BC", 7, "PQ").hex() == expected


def test_a_measurement_is_energy_and_time_for_each_channel() -> None:
    assert pack_measurement([(1, 2), (1 << 64, (1 << 64) - 1)]).hex() == (
        "0100000000000000" + "0200000000000000" + "00" * 8 + "ff" * 8
    )


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)


@given(oem=TEXTS, model=TEXTS, names=st.lists(TEXTS, max_size=8), revision=st.integers(0, 0xFFFF))
def test_a_reader_of_the_layout_finds_every_channel_whatever_it_is_called(
    oem: str, model: str, names: list[str], revision: int
) -> None:
    packed = pack_metadata_v2(oem, model, revision, names)
    assert [name for _, name in channels_of(packed)] == names
    assert struct.unpack_from("<H", packed, 64) == (revision,)
    for at, text in ((0, oem), (32, model)):
        shown = packed[at : at + 32].decode("utf-16-le")
        assert shown.endswith("\0")
        assert text.startswith(shown.rstrip("\0"))
    for name in names:
        assert name_of_v1(pack_metadata_v1(oem, model, revision, name)) == name


def test_names_and_channels_that_16_bits_cannot_count_are_refused() -> None:
    with pytest.raises(ValueError, match="16 bits"):
        pack_metadata_v1("", "", 1, "x" * 0x8000)
    with pytest.raises(ValueError, match="65535"):
        pack_metadata_v2("", "", 1, [""] * 0x10000)


def test_channels_lie_packed_so_that_some_are_not_aligned(kabylake: Meter) -> None:
    starts = [at for at, _ in channels_of(kabylake.metadata())]
    assert {start % 4 for start in starts} == {0, 2}
