from __future__ import annotations

import numpy as np
import pytest

from edgetl.quantize import graph, observe


@pytest.mark.parametrize("count", [1, 11])  # 11 is no multiple of a batch
def test_per_channel_is_what_numpy_says(count, conv_net, conv_net_images):
    images = conv_net_images[:count]
    scaled = (images.astype(np.float32) - 127.5) / 127.5
    means = observe.per_channel(graph.load(conv_net), images, ["normal"], statistic="mean")
    largest = observe.per_channel(graph.load(conv_net), images, ["normal"], statistic="largest")
    np.testing.assert_allclose(means["normal"], scaled.mean(axis=(0, 1, 2)), atol=1e-5)
    np.testing.assert_allclose(largest["normal"], np.abs(scaled).max(axis=(0, 1, 2)), atol=1e-6)


def test_per_channel_takes_flat_tensors_as_they_are(conv_net, conv_net_images):
    logits = observe.logits(graph.load(conv_net), conv_net_images[:5])
    found = observe.per_channel(graph.load(conv_net), conv_net_images[:5], [], statistic="mean", flat=["logits"])
    np.testing.assert_allclose(found["logits"], logits.mean(axis=0), rtol=1e-5)


def test_logits_do_not_depend_on_the_batches(conv_net, conv_net_images):
    proto = graph.load(conv_net)
    alone = np.concatenate([observe.logits(proto, conv_net_images[i : i + 1]) for i in range(9)])
    np.testing.assert_allclose(observe.logits(proto, conv_net_images[:9]), alone, atol=1e-5)
