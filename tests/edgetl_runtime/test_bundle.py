"""Every rule of the strict reader fires; each test alters one thing of a good bundle."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import struct
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgetl_runtime import bundle, manifest
from edgetl_runtime.errors import BundleError

if TYPE_CHECKING:
    from collections.abc import Callable

REGULAR = 0o100644 << 16


def is_open(path: Path) -> bool:
    """Say whether this process holds the file open; other files may come and go with the garbage collector."""
    found = [Path(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]  # noqa: PTH208
    return any(os.path.realpath(link) == str(path.resolve()) for link in found)


@dataclasses.dataclass(kw_only=True)
class Raw:
    """One member as it is written, every header field open to alteration."""

    name: bytes
    data: bytes
    flags: int = 0
    method: int = 0
    made_by: int = 3 << 8 | 20
    external: int = REGULAR
    extra: bytes = b""
    central_extra: bytes = b""
    comment: bytes = b""
    size: int | None = None
    packed: int | None = None
    local_name: bytes | None = None
    local_crc: int | None = None
    shift: int = 0
    after: bytes = b""

    def header(self, *, local: bool) -> bytes:
        crc = __import__("zlib").crc32(self.data)
        size = len(self.data) if self.size is None else self.size
        packed = size if self.packed is None else self.packed
        name = self.local_name if local and self.local_name is not None else self.name
        crc = self.local_crc if local and self.local_crc is not None else crc
        extra = self.extra if local else self.central_extra
        return struct.pack("<5H3I2H", 20, self.flags, self.method, 0, 33, crc, packed, size, len(name), len(extra))


def raw_zip(members: list[Raw], *, before: bytes = b"", gap: bytes = b"", comment: bytes = b"", **end: int) -> bytes:
    body, central = before, b""
    for member in members:
        offset = len(body) + member.shift
        name = member.name if member.local_name is None else member.local_name
        body += b"PK\x03\x04" + member.header(local=True) + name + member.extra + member.data + member.after
        common = member.header(local=False)
        central += b"PK\x01\x02" + struct.pack("<H", member.made_by) + common
        central += struct.pack("<3H2I", len(member.comment), end.get("disk", 0), 0, member.external, offset)
        central += member.name + member.central_extra + member.comment
    body += gap
    count = end.get("count", len(members))
    record = struct.pack("<4H2IH", 0, 0, count, count, len(central), len(body), len(comment))
    return body + central + b"PK\x05\x06" + record + comment


@pytest.fixture(scope="module")
def good(tiny_bundle: Callable[..., Path]) -> dict[str, bytes]:
    """The members of a good bundle, in order."""
    with zipfile.ZipFile(tiny_bundle()) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture
def members(good: dict[str, bytes]) -> list[Raw]:
    return [Raw(name=name.encode(), data=data) for name, data in good.items()]


@pytest.fixture
def refused(tmp_path: Path) -> Callable[[bytes, str], None]:
    """Write the bytes and expect that opening and verifying them is refused with these words."""

    def check(data: bytes, words: str) -> None:
        path = tmp_path / "x.edgetl"
        path.write_bytes(data)
        with pytest.raises(BundleError, match=words), bundle.open_bundle(path) as opened:
            opened.verify()
        assert not is_open(path), "a refused bundle must not stay open"

    return check


def with_manifest(members: list[Raw], **changes: Any) -> list[Raw]:
    mapping = json.loads(members[0].data) | changes
    return [Raw(name=members[0].name, data=json.dumps(mapping).encode()), *members[1:]]


def listed(data: dict[str, bytes]) -> list[dict[str, Any]]:
    return [{"name": n, "size": len(d), "sha256": hashlib.sha256(d).hexdigest()} for n, d in data.items()]


def renamed(members: list[Raw], new: str) -> list[Raw]:
    """Add a member of that name, listed in the manifest, so that only the name can be wrong."""
    files = [*json.loads(members[0].data)["files"], *listed({new: b"x"})]
    return [*with_manifest(members, files=files), Raw(name=new.encode("utf-8"), data=b"x")]


def test_open_bundle_accepts_the_hand_made_zip_of_the_same_members(members: list[Raw], tmp_path: Path) -> None:
    path = tmp_path / "x.edgetl"
    path.write_bytes(raw_zip(members))
    with bundle.open_bundle(path) as opened:
        opened.verify()
        assert opened.names == tuple(m.name.decode() for m in members)
        assert opened.read("golden/000.png") == next(m.data for m in members if m.name == b"golden/000.png")


def test_open_bundle_reads_what_zipfile_reads(tiny_bundle: Callable[..., Path]) -> None:
    path = tiny_bundle()
    with zipfile.ZipFile(path) as archive, bundle.open_bundle(path) as opened:
        assert archive.testzip() is None
        assert {n: archive.read(n) for n in opened.names[2:]} == {n: opened.read(n) for n in opened.names[2:]}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"flags": 1}, "not encrypted"),
        ({"flags": 8}, "without a data descriptor"),
        ({"flags": 0x800}, "without flags"),
        ({"method": 8}, "stored, not compressed"),
        ({"packed": 5}, "stored, not compressed"),
        ({"size": 0xFFFFFFFF}, "ZIP64"),
        ({"extra": b"\x99\x99\x00\x00"}, "header of member"),
        ({"central_extra": b"\x99\x99\x00\x00"}, "without extra fields"),
        ({"comment": b"hello"}, "without extra fields and comments"),
        ({"external": 0o120777 << 16}, "a regular file of mode 644; got a link"),
        ({"external": 0o040755 << 16 | 0x10}, "a regular file"),
        ({"external": 0}, "a regular file"),
        ({"made_by": 20}, "a regular file"),
        ({"made_by": 3 << 8 | 21}, "a regular file"),
        ({"external": 0o100755 << 16}, "a regular file of mode 644"),
        ({"local_name": b"models/null/mode1.json"}, "header of member"),
        ({"local_crc": 7}, "header of member"),
        ({"shift": -1}, "right after the one before"),
        ({"after": b"\0"}, "right after the one before"),
    ],
)
def test_open_bundle_refuses_member(
    change: dict[str, Any], words: str, members: list[Raw], refused: Callable[[bytes, str], None]
) -> None:
    members[3] = dataclasses.replace(members[3], **change)
    refused(raw_zip(members), words)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("/etc/passwd", "an absolute name"),
        ("../escape", r"a name with '\.\.'"),
        ("a/../../b", r"a name with '\.\.'"),
        ("./a", r"a name with '\.'"),
        ("a\\b", "other characters"),
        ("a\0b", "other characters"),
        ("a//b", "other characters"),
        ("folder/", "other characters"),
        ("ä", "other characters"),
        ("n" * 256, "a name of 256 bytes"),
        ("", "a name of 0 bytes"),
        ("MODELS/null/model.json", "twice, but for case"),
        ("golden/000.png", "twice, but for case"),
        ("golden/000.png/x", "below a file"),
        ("Manifest.json", "twice, but for case"),
    ],
)
def test_open_bundle_refuses_name(
    name: str, words: str, members: list[Raw], refused: Callable[[bytes, str], None]
) -> None:
    refused(raw_zip(renamed(members, name)), words)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"before": b"#!/bin/sh\n"}, "right after the one before"),
        ({"gap": b"\0" * 9}, "without gaps"),
        ({"comment": b"hello"}, "ends with its end record"),
        ({"count": 3}, "without gaps"),
        ({"count": 60}, "complete"),
        ({"count": 0xFFFF}, "ZIP64"),
        ({"count": 5000}, "number of members"),
        ({"disk": 1}, "without extra fields"),
    ],
)
def test_open_bundle_refuses_structure(
    options: dict[str, Any], words: str, members: list[Raw], refused: Callable[[bytes, str], None]
) -> None:
    refused(raw_zip(members, **options), words)


def test_open_bundle_refuses_trailing_and_missing_bytes(
    members: list[Raw], refused: Callable[[bytes, str], None]
) -> None:
    data = raw_zip(members)
    refused(data + b"\0", "ends with its end record")
    for length in (0, 10, 21, 22, len(data) // 2, len(data) - 1):
        refused(data[:length], "ends with its end record|of 22 to")


@pytest.mark.parametrize(
    ("offset", "words"),
    [(4, "of one part"), (6, "of one part"), (8, "of one part"), (20, "ends with its end record")],
)
def test_open_bundle_refuses_end_record(
    offset: int, words: str, members: list[Raw], refused: Callable[[bytes, str], None]
) -> None:
    data = bytearray(raw_zip(members))
    data[offset - 22] += 1  # disk, first disk, members on this disk, length of the comment
    refused(bytes(data), words)


def test_open_bundle_refuses_a_second_end_record(members: list[Raw], refused: Callable[[bytes, str], None]) -> None:
    data = raw_zip(members)
    refused(data + data[-22:], "without gaps")


def test_open_bundle_refuses_other_order(members: list[Raw], refused: Callable[[bytes, str], None]) -> None:
    refused(raw_zip([members[1], members[0], *members[2:]]), "the first two members")
    refused(raw_zip([*members[:2], members[3], members[2], *members[4:]]), "in its order")


def test_open_bundle_refuses_unlisted_and_missing_members(
    members: list[Raw], refused: Callable[[bytes, str], None]
) -> None:
    refused(raw_zip([*members, Raw(name=b"more", data=b"x")]), "those of the manifest")
    refused(raw_zip(members[:-1]), "those of the manifest")


def test_open_bundle_refuses_a_size_that_is_not_the_manifest_s(
    members: list[Raw], refused: Callable[[bytes, str], None]
) -> None:
    members[3] = dataclasses.replace(members[3], data=members[3].data + b" ")
    refused(raw_zip(members), "as the manifest says")


def test_read_refuses_content_that_is_not_the_manifest_s(
    members: list[Raw], refused: Callable[[bytes, str], None]
) -> None:
    members[3] = dataclasses.replace(members[3], data=b'{"classes": 3}')
    refused(raw_zip(members), "as its SHA-256")


def test_verify_refuses_a_wrong_crc(members: list[Raw], tmp_path: Path, refused: Callable[[bytes, str], None]) -> None:
    data = bytearray(raw_zip(members))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        info = archive.infolist()[3]
    central = data.index(b"PK\x01\x02")
    central = data.index(info.filename.encode(), central) - 46
    data[info.header_offset + 14] ^= 1
    data[central + 16] ^= 1
    refused(bytes(data), "as its CRC")


def test_open_bundle_refuses_upper_case_digests(members: list[Raw], refused: Callable[[bytes, str], None]) -> None:
    files = json.loads(members[0].data)["files"]
    files[0]["sha256"] = files[0]["sha256"].upper()
    refused(raw_zip(with_manifest(members, files=files)), "lower-case")


def test_open_bundle_refuses_a_large_manifest(members: list[Raw], refused: Callable[[bytes, str], None]) -> None:
    members[0] = dataclasses.replace(members[0], data=members[0].data + b" " * bundle.MAX_MANIFEST_BYTES)
    refused(raw_zip(members), "at most 1048576 bytes")


def test_open_bundle_refuses_a_large_or_odd_signature(
    members: list[Raw], refused: Callable[[bytes, str], None]
) -> None:
    for data in (
        b'{"signatures": []}' + b" " * bundle.MAX_SIGNATURE_BYTES,
        b"{}",
        b"[]",
        b'{"signatures": 1}',
        b"\xff",
    ):
        members[1] = dataclasses.replace(members[1], data=data)
        refused(raw_zip(members), "signature.json")


def test_open_bundle_refuses_a_file_beyond_the_bound(
    tiny_bundle: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle, "MAX_BUNDLE_BYTES", 1000)
    with pytest.raises(BundleError, match="of 22 to 1000 bytes"):
        bundle.open_bundle(tiny_bundle())


def test_open_bundle_refuses_newer_versions(members: list[Raw], refused: Callable[[bytes, str], None]) -> None:
    refused(raw_zip(with_manifest(members, schema_version=3, novelty=1)), "(?s)at most 2; got 3.*update edgetl-runtime")
    refused(raw_zip(with_manifest(members, min_runtime="99.0")), "at least version 99.0")


def test_open_bundle_refuses_what_is_not_a_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, words in (
        (tmp_path / "pipe", "a regular file"),
        (tmp_path, "a regular file"),
        (tmp_path / "no", "No such"),
    ):
        with pytest.raises(BundleError, match=words):
            bundle.open_bundle(path)


def test_open_bundle_refuses_a_bundle_of_nothing(members: list[Raw], refused: Callable[[bytes, str], None]) -> None:
    refused(
        raw_zip(with_manifest(members[:2], files=[])),
        "the members of bundle .* must be all that the manifest names; got none",
    )


def test_read_walks_onnx_members(
    members: list[Raw], tiny_onnx: Callable[..., bytes], refused: Callable[[bytes, str], None]
) -> None:
    hostile = tiny_onnx(domain="evil.ops")
    for index, member in enumerate(members):
        if member.name == b"models/float/model.onnx":
            members[index] = dataclasses.replace(member, data=hostile)
    files = listed({m.name.decode(): m.data for m in members[2:]})
    refused(raw_zip(with_manifest(members, files=files)), "the domain 'evil.ops'")


def test_array_refuses_pickles(members: list[Raw], tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{}], object), allow_pickle=True)
    for data in (buffer.getvalue(), b"\x80\x04K\x01.", b"", b"\x93NUMPY\x01\x00\x10\x00{'descr'"):
        members[-1] = dataclasses.replace(members[-1], data=data)
        files = listed({m.name.decode(): m.data for m in members[2:]})
        path = tmp_path / "x.edgetl"
        path.write_bytes(raw_zip(with_manifest(members, files=files)))
        with bundle.open_bundle(path) as opened, pytest.raises(BundleError, match="without pickled objects"):
            opened.array(members[-1].name.decode())


def test_read_refuses_unlisted_names_and_closed_bundles(tiny_bundle: Callable[..., Path]) -> None:
    with bundle.open_bundle(tiny_bundle()) as opened:
        for name in ("nothing", manifest.MANIFEST_NAME):
            with pytest.raises(BundleError, match="listed in the manifest"):
                opened.read(name)
    opened.close()
    with pytest.raises(BundleError, match="cannot read bundle"):
        opened.read("golden/000.png")


def test_read_from_several_threads_gives_each_its_member(tiny_bundle: Callable[..., Path]) -> None:
    with bundle.open_bundle(tiny_bundle()) as opened:
        alone = {entry.name: opened.read(entry.name) for entry in opened.manifest.files}
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda name: (name, opened.read(name)), [*alone] * 40))
    assert all(data == alone[name] for name, data in found)


def test_close_waits_for_a_member_that_is_being_read(
    tiny_bundle: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the number of its descriptor may already be another file's, whose bytes it would give."""
    opened = bundle.open_bundle(tiny_bundle())
    expected, true_pread, closing = opened.member_bytes("golden/000.png"), os.pread, []

    def pread(descriptor: int, size: int, offset: int) -> bytes:
        closing.extend(threading.Thread(target=opened.close) for _ in range(2))
        for thread in closing:
            thread.start()
            thread.join(0.1)
        return true_pread(descriptor, size, offset)

    monkeypatch.setattr(bundle.os, "pread", pread)
    assert opened.member_bytes("golden/000.png") == expected
    for thread in closing:
        thread.join()
    monkeypatch.undo()
    with pytest.raises(BundleError, match="cannot read bundle"):
        opened.member_bytes("golden/000.png")


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_open_bundle_raises_nothing_but_bundle_errors(
    data: st.DataObject, good: dict[str, bytes], tmp_path: Path
) -> None:
    whole = bytearray(raw_zip([Raw(name=n.encode(), data=d) for n, d in good.items()]))
    edits = data.draw(st.lists(st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 255)), min_size=1, max_size=4))
    original = bytes(whole)
    for at, value in edits:
        whole[at] = value
    path = tmp_path / "x.edgetl"
    path.write_bytes(whole)
    if bytes(whole) == original:
        return
    try:
        with bundle.open_bundle(path) as opened:
            opened.verify()
    except BundleError:
        return
    with zipfile.ZipFile(path) as archive:  # what passes differs only where the headers hold dates and modes,
        contents = {n: archive.read(n) for n in archive.namelist()}  # or in free words of the manifest
    assert {n: d for n, d in contents.items() if n not in ("manifest.json", "signature.json")} == {
        n: d for n, d in good.items() if n not in ("manifest.json", "signature.json")
    }
