"""Features are computed once for what they depend on, and never taken from a damaged file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from edgetl.errors import StoppedError
from edgetl.finetune.features import BATCH, cache_dir, cached_features, extract, feature_key
from edgetl.finetune.interrupt import StopFlag

FEATURES = np.arange(12, dtype=np.float32).reshape(4, 3)


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGETL_CACHE", str(tmp_path / "deep" / "cache"))


class Counted:
    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return FEATURES + self.calls - 1


def test_cached_features_are_computed_once():
    compute = Counted()
    assert np.array_equal(cached_features("key", compute, n=4), FEATURES)
    assert np.array_equal(cached_features("key", compute, n=4), FEATURES)
    assert compute.calls == 1
    cached_features("other", compute, n=4)
    assert compute.calls == 2
    assert not list(cache_dir().glob("*.part"))


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-5]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"\x93NUMPY nonsense"),
        lambda path: np.save(path, FEATURES[:3]),
        lambda path: np.save(path, FEATURES[0]),
        lambda path: np.save(path, FEATURES.astype(np.float64)),
        lambda path: np.save(path, np.array([[{}]] * 4, dtype=object), allow_pickle=True),
    ],
    ids=["truncated", "empty", "nonsense", "of other images", "another rank", "another type", "a pickle"],
)
def test_cached_features_are_computed_again_where_the_file_is_damaged(damage):
    compute = Counted()
    cached_features("key", compute, n=4)
    damage(cache_dir() / "features-key.npy")
    assert np.array_equal(cached_features("key", compute, n=4), FEATURES + 1)
    assert np.array_equal(cached_features("key", compute, n=4), FEATURES + 1)
    assert compute.calls == 2


def test_cached_features_are_computed_where_the_cache_cannot_be_written_and_that_is_said(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("EDGETL_CACHE", str(tmp_path / "file"))
    said = []
    assert np.array_equal(cached_features("key", Counted(), n=4, note=said.append), FEATURES)
    assert said == [f"features are not kept: {tmp_path / 'file'}: File exists; EDGETL_CACHE names another folder"]


def test_feature_key_follows_everything_features_depend_on(monkeypatch):
    base = ("images", "weights", "backbone", "cpu")
    keys = {feature_key(*base)}
    for place in range(4):
        keys.add(feature_key(*(word + "x" if at == place else word for at, word in enumerate(base))))
    monkeypatch.setattr("openvino.__version__", "0")
    keys.add(feature_key(*base))
    assert len(keys) == 6


def test_cache_dir_follows_the_users_wish(monkeypatch):
    monkeypatch.delenv("EDGETL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache_dir() == Path("/x/edgetl")


def brightness(batch):
    return torch.from_numpy(batch.reshape(len(batch), -1).mean(axis=1, keepdims=True))


def test_extract_keeps_the_order_and_ends_at_a_stop():
    images = np.arange(BATCH * 2 + 3, dtype=np.uint8)[:, None, None, None].repeat(3, axis=3)
    seen = []
    stop = StopFlag()
    found = extract(brightness, images, progress=lambda *step: seen.append(step), stop=stop)
    assert found.dtype == np.float32
    assert found[:, 0].tolist() == list(range(len(images)))
    assert seen[-1] == (len(images), len(images))
    stop.set()
    with pytest.raises(StoppedError, match=r"a stop while extracting features(?s:.)*--resume") as caught:
        extract(brightness, images, progress=lambda *_: None, stop=stop)
    assert caught.value.exit_code == 130
