"""The writer's bytes are deterministic, complete, and either all there or not at all."""

from __future__ import annotations

import dataclasses
import errno
import os
import zipfile
from typing import TYPE_CHECKING

import pytest

from edgetl.deploy import bundle_writer, signing
from edgetl_runtime import bundle
from edgetl_runtime.errors import BundleError, SignatureError, UsageError
from edgetl_runtime.signature import TrustedKey

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edgetl_runtime.manifest import Manifest

    Parts = Callable[[], tuple[Manifest, dict[str, bytes]]]


def test_write_bundle_round_trips_manifest_and_members(tiny_parts: Parts, tmp_path: Path) -> None:
    fields, members = tiny_parts()
    bundle_writer.write_bundle(tmp_path / "a.edgetl", fields, members)
    with bundle.open_bundle(tmp_path / "a.edgetl") as opened:
        assert dataclasses.replace(opened.manifest, files=()) == fields
        assert {name: opened.read(name) for name in members} == members
        assert opened.names == ("manifest.json", "signature.json", *members)
        assert opened.signatures == ()


def test_write_bundle_gives_equal_bytes_for_equal_content(tiny_parts: Parts, tmp_path: Path) -> None:
    for name in ("a.edgetl", "b.edgetl"):
        bundle_writer.write_bundle(tmp_path / name, *tiny_parts())
    assert (tmp_path / "a.edgetl").read_bytes() == (tmp_path / "b.edgetl").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.edgetl") as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_write_bundle_refuses_an_existing_file_unless_told(tiny_parts: Parts, tmp_path: Path) -> None:
    path = tmp_path / "a.edgetl"
    path.write_bytes(b"old")
    with pytest.raises(UsageError, match=r"(?s)does not exist yet.*--force"):
        bundle_writer.write_bundle(path, *tiny_parts())
    assert path.read_bytes() == b"old"
    bundle_writer.write_bundle(path, *tiny_parts(), replace=True)
    bundle.open_bundle(path).close()
    assert [p.name for p in tmp_path.iterdir()] == ["a.edgetl"]


def test_write_bundle_leaves_nothing_when_the_disk_is_full(
    tiny_parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        bundle_writer.write_bundle(tmp_path / "a.edgetl", *tiny_parts())
    assert list(tmp_path.iterdir()) == []


def test_write_bundle_keeps_the_old_file_when_interrupted(
    tiny_parts: Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.edgetl"
    path.write_bytes(b"old")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bundle_writer.bundles, "open_bundle", interrupt)
    with pytest.raises(KeyboardInterrupt):
        bundle_writer.write_bundle(path, *tiny_parts(), replace=True)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.edgetl"]


@pytest.mark.parametrize("name", ["../x", "/x", "a\\b", "MANIFEST.json", "golden/000.png/x", "n" * 256])
def test_write_bundle_refuses_names_that_the_reader_would(name: str, tiny_parts: Parts, tmp_path: Path) -> None:
    fields, members = tiny_parts()
    with pytest.raises(BundleError, match="names"):
        bundle_writer.write_bundle(tmp_path / "a.edgetl", fields, members | {name: b"x"})
    assert list(tmp_path.iterdir()) == []


def test_write_bundle_refuses_hostile_models_and_missing_members(
    tiny_parts: Parts, tiny_onnx: Callable[..., bytes], tmp_path: Path
) -> None:
    fields, members = tiny_parts()
    hostile = members | {"models/float/model.onnx": tiny_onnx(domain="evil.ops")}
    with pytest.raises(BundleError, match=r"model 'models/float/model\.onnx'.*evil"):
        bundle_writer.write_bundle(tmp_path / "a.edgetl", fields, hostile)
    del members["golden/003.png"]
    with pytest.raises(BundleError, match=r"none called 'golden/003\.png'"):
        bundle_writer.write_bundle(tmp_path / "a.edgetl", fields, members)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    return [signing.new_key(folder / f"{name}.key") for name in ("one", "two")]


def test_sign_bundle_replaces_signatures_and_leaves_every_member(tiny_bundle, keys):
    path = tiny_bundle()
    with bundle.open_bundle(path) as opened:
        before = opened.digests
    for signers in ((keys[0],), tuple(keys)):
        bundle_writer.sign_bundle(path, signers)
        for key in signers:
            with bundle.open_bundle(path, trust=[TrustedKey(pem=key.pem)]) as opened:
                opened.verify()
                assert opened.digests == before
                assert len(opened.signatures) == len(signers)


def test_attach_refuses_a_signature_about_another_bundle(tiny_bundle, keys):
    path, other = tiny_bundle(), tiny_bundle(sequence=2)
    bundle_writer.sign_bundle(other, (keys[0],))
    with bundle.open_bundle(other) as opened:
        envelope = opened.signatures[0]
    whole = path.read_bytes()
    with pytest.raises(SignatureError, match="about the members"):
        bundle_writer.attach(path, [envelope])
    assert path.read_bytes() == whole
