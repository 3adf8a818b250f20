"""A compiled engine counts only as long as nobody has touched it."""

from __future__ import annotations

import pytest

from edgetl_runtime import backends
from edgetl_runtime.bundle import open_bundle
from edgetl_runtime.install import engine_cache


@pytest.fixture
def sealed(tmp_path):
    folder = engine_cache.prepare(tmp_path, "k")
    (folder / "engine").write_bytes(b"compiled")
    engine_cache.seal(tmp_path, "k")
    return folder


def test_a_sealed_cache_is_kept(sealed, tmp_path):
    assert engine_cache.prepare(tmp_path, "k") == sealed
    assert (sealed / "engine").read_bytes() == b"compiled"
    assert (tmp_path / "cache.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "alter",
    [
        lambda f: (f / "engine").write_bytes(b"Compiled"),
        lambda f: (f / "more").write_bytes(b""),
        lambda f: (f / "engine").rename(f / "other"),
        lambda f: (f / "seal.json").unlink(),
        lambda f: (f / "seal.json").write_text('{"hmac": "00"}'),
        lambda f: (f / "seal.json").write_text("[" * 10**5),
        lambda f: (f.parent.parent / "cache.key").unlink(),
    ],
)
def test_an_altered_cache_is_emptied(alter, sealed, tmp_path):
    alter(sealed)
    assert not engine_cache.is_sealed(tmp_path, "k")
    assert list(engine_cache.prepare(tmp_path, "k").iterdir()) == []


def test_a_cache_moved_to_another_key_is_emptied(sealed, tmp_path):
    sealed.rename(tmp_path / "cache" / "other")
    assert list(engine_cache.prepare(tmp_path, "other").iterdir()) == []


def test_key_of_depends_on_what_engines_depend_on(kit, monkeypatch):
    with open_bundle(kit.bundles["old"]) as bundle, open_bundle(kit.bundles["new"]) as other:
        first = engine_cache.key_of(bundle, bundle.manifest.variants[0])
        assert first == engine_cache.key_of(bundle, bundle.manifest.variants[0])
        assert first != engine_cache.key_of(other, other.manifest.variants[0])
        monkeypatch.setattr(engine_cache.probe, "package_version", lambda _: "9")
        monkeypatch.setattr(
            type(backends.get("null")), "info", backends.get("onnxruntime").info
        )  # a package with a version
        assert first != engine_cache.key_of(bundle, bundle.manifest.variants[0])
