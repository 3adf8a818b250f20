"""A compiled engine counts only as long as nobody has touched it."""

from __future__ import annotations

from pathlib import Path

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


KEY = "0123456789abcdef" * 2


def test_what_is_compiled_again_after_an_update_is_sealed_again(tmp_path):
    for number in range(3):
        with engine_cache.opened(tmp_path, KEY) as folder:
            assert [path.read_bytes() for path in folder.glob("engine")] == [b"%d" % (number - 1)][: bool(number)]
            (folder / "engine").write_bytes(b"%d" % number)  # as a backend does that finds another version's
        assert engine_cache.is_sealed(tmp_path, KEY)


def test_a_load_that_fails_leaves_no_seal(tmp_path):
    def load():
        with engine_cache.opened(tmp_path, KEY) as folder:
            (folder / "engine").write_bytes(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        load()
    assert not engine_cache.is_sealed(tmp_path, KEY)
    with engine_cache.opened(tmp_path, KEY) as folder:
        assert list(folder.iterdir()) == []


def test_engines_that_are_kept_by_their_backend_need_no_seal(tmp_path):
    for _ in range(2):
        with engine_cache.opened(tmp_path, engine_cache.ENGINES + KEY) as folder:
            (folder / "x.plan").write_bytes(b"")
    assert [path.name for path in folder.iterdir()] == ["x.plan"]


@pytest.mark.parametrize("key", [None, "", "..", "../../etc", KEY + "/..", "engines-../" + KEY, 7])
def test_a_proof_cannot_name_another_folder(tmp_path, key):
    with engine_cache.opened(tmp_path, key) as folder:
        assert folder is None
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_cannot_be_written_is_still_read(sealed, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", fail)
    with engine_cache.opened(tmp_path, engine_cache.ENGINES + KEY) as folder:
        assert folder == tmp_path / "cache" / (engine_cache.ENGINES + KEY)  # its backend says what cannot be written
    with engine_cache.opened(tmp_path, KEY) as folder:
        assert folder is None


def test_key_of_engines_kept_by_their_backend_outlives_updates(kit, monkeypatch):
    with open_bundle(kit.bundles["old"]) as bundle:
        variant = bundle.manifest.variants[0]
        plain = engine_cache.key_of(bundle, variant)
        monkeypatch.setattr(type(backends.get("null")), "keeps_engines", True)
        first = engine_cache.key_of(bundle, variant)
        monkeypatch.setattr(type(backends.get("null")), "info", backends.get("onnxruntime").info)
        monkeypatch.setattr(engine_cache.probe, "package_version", lambda _: "9")
        monkeypatch.setattr(engine_cache.probe, "facts", lambda: pytest.fail("the machine was asked"))
        assert engine_cache.key_of(bundle, variant) == first != plain
