"""The head on frozen features: it separates what can be separated, and its scale does not matter."""

from __future__ import annotations

import numpy as np
import pytest

from edgetl.finetune.head import class_weights, fit_head, soft_targets


@pytest.fixture(scope="module", params=[2, 3])
def clouds(request):
    classes = request.param
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, 200)
    centres = rng.normal(0, 3, (classes, 8))
    features = (centres[labels] + rng.normal(0, 1, (200, 8))).astype(np.float32)
    return features, labels, classes


def fit(features, labels, classes, certainty=None):
    targets = soft_targets(labels, np.ones(len(labels)) if certainty is None else certainty, classes)
    weights = class_weights(labels, classes)
    return fit_head(features[:150], targets[:150], weights, val=features[150:], val_labels=labels[150:], seed=0)


def test_fit_head_separates_clouds(clouds):
    features, labels, classes = clouds
    head = fit(*clouds)
    assert head.weight.shape == (classes, 8)
    assert head.logits(features).dtype == np.float32
    assert (head.logits(features[150:]).argmax(axis=1) == labels[150:]).mean() >= 0.96


def test_fit_head_does_not_depend_on_the_features_scale(clouds):
    features, labels, classes = clouds
    near, far = fit(features, labels, classes), fit(1000 * features + 50, labels, classes)
    assert near.strength == far.strength
    np.testing.assert_allclose(near.logits(features), far.logits(1000 * features + 50), atol=0.05)


def test_fit_head_gives_the_same_weights_again(clouds):
    assert np.array_equal(fit(*clouds).weight, fit(*clouds).weight)


def test_soft_targets_spread_doubt_over_the_other_classes():
    assert soft_targets(np.array([0, 2]), np.array([1.0, 0.5]), 3).tolist() == [[1, 0, 0], [0.25, 0.25, 0.5]]


def test_class_weights_only_help_where_unbalanced():
    assert class_weights(np.array([0] * 20 + [1] * 10), 2).tolist() == [1, 1]
    labels = np.array([0] * 90 + [1] * 10)
    weights = class_weights(labels, 2)
    assert weights[1] / weights[0] == pytest.approx(3.0)
    assert weights[labels].mean() == pytest.approx(1.0)
