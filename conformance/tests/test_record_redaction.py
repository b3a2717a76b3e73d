# SPDX-License-Identifier: Apache-2.0
"""`conformance record`: what is never written down."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from raplica_conformance.record.redaction import LEFT_OUT, MARK, redacted
from raplica_fixtures.recording import (
    Capture,
    Entry,
    Hint,
)

from .record_files import PLAIN

# No common name begins like this: those are left alone, and are the next test's.
NAMES = st.text("abcdefghijklmnop0123456789", min_size=3, max_size=9).map("x{}".format)


@given(host=NAMES, user=NAMES)
@settings(max_examples=40)
def test_no_name_that_is_known_survives_in_any_text(host: str, user: str) -> None:
    ident = "2b1c7a52-0d2c-4fd5-9d7c-0f6a1b2c3d4e"
    text = f"of {host}.example.org, {host} {user} {host.upper()} {ident} me@{host} /home/{user}/x"
    capture = Capture("x", 0, hints=(Hint("f", text),), firmware={"board_name": text}, left_out=("more",))
    capture = replace(capture, cpu_name=text)
    recording = replace(PLAIN, what=text, kernel_release=text, kernel_build=text)
    clean, told_of = redacted(recording, capture, {"host_name": f"{host}.example.org", "user": user})
    expected = f"of {MARK}, {MARK} {MARK} {MARK} {MARK} {MARK} /home/{MARK}/x"
    of_recording = {clean.what, clean.kernel_release, clean.kernel_build}
    assert of_recording | {told_of.cpu_name, told_of.hints[0].text, told_of.firmware["board_name"]} == {expected}
    assert told_of.left_out == (*LEFT_OUT, "more")
    assert told_of.identity == {}


def test_a_link_through_somebodys_folders_is_no_link_of_the_kernel() -> None:
    tree = {name: Entry("link", target=target) for name, target in (("a", "/home/x/sys"), ("b", "../../devices/b"))}
    clean, _ = redacted(replace(PLAIN, tree=tree), Capture("x", 0), {})
    assert [entry.target for entry in clean.tree.values()] == [MARK, "../../devices/b"]


def test_a_name_inside_another_word_and_a_common_name_are_no_names() -> None:
    release = replace(PLAIN, kernel_release="6.12.1-amd64-generic", kernel_build="#1 root linux")
    clean, _ = redacted(release, Capture("x", 0), {"host_name": "gen", "user": "root"})
    assert (clean.kernel_release, clean.kernel_build) == ("6.12.1-amd64-generic", "#1 root linux")
