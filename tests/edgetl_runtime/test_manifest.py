"""The manifest is read strictly and contradictions are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import edgetl_runtime
from edgetl_runtime import golden, manifest
from edgetl_runtime.errors import BundleError
from edgetl_runtime.schema import to_mapping

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def mapping(tiny_parts: Callable[[], tuple[manifest.Manifest, dict[str, bytes]]]) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(to_mapping(tiny_parts()[0])))
    return plain


def params(*, nok_at: float = 0.5, ok_below: float = 0.5, temperature: float = 1.0) -> dict[str, Any]:
    return {"params": {"thresholds": {"nok_at": nok_at, "ok_below": ok_below}, "temperature": temperature}}


def parse(mapping: dict[str, Any]) -> manifest.Manifest:
    return manifest.parse(json.dumps(mapping).encode())


def test_parse_gives_back_what_dump_wrote(
    tiny_parts: Callable[[], tuple[manifest.Manifest, dict[str, bytes]]],
) -> None:
    fields = tiny_parts()[0]
    assert manifest.parse(manifest.dump(fields)) == fields
    assert manifest.dump(fields) == manifest.dump(manifest.parse(manifest.dump(fields)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"novelty": 1}, "unknown one"),
        ({"labels": {"classes": "bad", "defect_classes": []}}, "a list"),
        ({"labels": {"classes": ["bad"], "defect_classes": []}}, "at least two"),
        ({"labels": {"classes": ["bad", "bad", "ok"], "defect_classes": ["bad"]}}, "different"),
        ({"labels": {"classes": ["bad", "ok"], "defect_classes": ["bad", "ok"]}}, "some but not all"),
        ({"labels": {"classes": ["bad", "ok"]}}, "key 'defect_classes' in manifest.json: labels must be present"),
        ({"labels": ["bad", "ok"]}, "a table"),
        ({"outputs": []}, r"outputs in manifest.json must be with logits \(N, 2\); got none"),
        ({"outputs": [{"name": "logits", "shape": ["N", 3]}]}, r"with logits \(N, 2\); got logits \(N, 3\)"),
        ({"outputs": [{"name": "logits", "shape": ["N", 2]}] * 2}, "of different names; got logits, logits"),
        ({"chosen": "nothing"}, "the id of a variant"),
        ({"variants": []}, "at least one"),
        ({"task": "segmentation"}, r"\) decides: inspection, sorting; got 'segmentation'\.\nTry: pip install -U"),
        ({"task": 1}, "task must be of type str"),
        ({"task": "sorting"}, "key 'defect_classes' in manifest.json: labels must be a known key"),
        ({"sequence": True}, "of type int"),
        ({"schema_version": 3}, "at most 2; got 3"),
        ({"schema_version": 1}, r"at least 2; got 1, made by edgetl 0.1\.\nTry: deploy the run again"),
        ({"schema_version": "1"}, "of type int"),
        ({"files": [{"name": "a", "size": 1, "sha256": "0"}]}, "none called 'golden/tensors.npy'"),
    ],
)
def test_parse_refuses(change: dict[str, Any], words: str, mapping: dict[str, Any]) -> None:
    with pytest.raises(BundleError, match=words):
        parse(mapping | change)


def test_parse_refuses_bad_ranges_inside(mapping: dict[str, Any]) -> None:
    mapping["preprocess"]["width_px"] = 3
    with pytest.raises(BundleError, match="from 8 to 4096"):
        parse(mapping)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (params(nok_at=1.5), "nok_at must be from 0 to 1; got 1.5"),
        (params(ok_below=-0.5), "ok_below must be from 0 to 1; got -0.5"),
        (params(temperature=0.0), "temperature must be above 0 and finite; got 0.0"),
        (params(temperature=-1.5), "temperature must be above 0 and finite; got -1.5"),
        ({"golden_tolerance": {"max_abs": 1.0}}, "max_abs must be from 0 to 0.5; got 1.0"),
        ({"golden_tolerance": {"max_abs": 0.1, "max_grey_levels": 255}}, "max_grey_levels must be from 0 to 16"),
        ({"golden_decisions": []}, r"golden_decisions of \S+ in manifest.json must be 16, one for each golden image"),
        ({"golden_decisions": [{"label": "ok", "verdict": "GOOD"}] * 16}, "must be of OK, NOK, UNSURE; got GOOD"),
        ({"params": {"unsure_below": 0.5}}, r"'unsure_below' in .* params of \S+ for inspection must be a known key"),
    ],
)
def test_parse_refuses_a_variant(change: dict[str, Any], words: str, mapping: dict[str, Any]) -> None:
    for place in range(len(mapping["variants"])):  # of each, not only of the chosen one
        variants = [v | change if i == place else v for i, v in enumerate(mapping["variants"])]
        with pytest.raises(BundleError, match=words):
            parse(mapping | {"variants": variants})


def test_parse_refuses_a_bundle_that_does_not_say_what_to_decide_in_one_sentence(mapping: dict[str, Any]) -> None:
    for variant in mapping["variants"]:
        del variant["golden_decisions"]
    with pytest.raises(BundleError, match=r"^golden_decisions of .* must be 16.*; got 0\.\nTry: ") as caught:
        parse(mapping)
    assert str(caught.value).count("\n") == 1


def test_parse_refuses_twin_variants_wrong_counts_and_missing_keys(mapping: dict[str, Any]) -> None:
    with pytest.raises(BundleError, match="with different ids"):
        parse(mapping | {"variants": mapping["variants"] * 2})
    with pytest.raises(BundleError, match=r"golden.count.* must be 16"):
        parse(mapping | {"golden": mapping["golden"] | {"count": 3}})
    del mapping["labels"]
    with pytest.raises(BundleError, match=r"'labels' .* must be present"):
        parse(mapping)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "JSON"),
        (b"\xff\xfe", "JSON"),
        (b"[1]", "a table"),
        (b'{"a": NaN}', "finite"),
        (b'{"a": 1, "a": 2}', "without twin keys"),
        (b"[" * 100_000, "JSON"),
    ],
)
def test_parse_refuses_bytes(data: bytes, words: str) -> None:
    with pytest.raises(BundleError, match=words):
        manifest.parse(data)


def test_variant_names_the_nearest(mapping: dict[str, Any]) -> None:
    assert parse(mapping).variant("null-f32").backend == "null"
    with pytest.raises(BundleError, match="Try: 'null-f32'"):
        parse(mapping).variant("nul-f32")


@pytest.mark.parametrize(
    ("older", "newer"), [("0.1.0", "0.1.1"), ("2025.4", "2026.4.1rc1"), ("1.9", "1.10"), ("1.23.2", "1.31.1")]
)
def test_version_tuple_orders(older: str, newer: str) -> None:
    assert manifest.version_tuple(older) < manifest.version_tuple(newer)


def test_a_bundle_of_schema_2_opens_for_ever_and_its_golden_vectors_hold() -> None:
    """Written when schema 2 was new and never again: what is on a station must stay readable."""
    path = Path(__file__).parent / "fixtures" / "schema_2.edgetl"
    with edgetl_runtime.open(path) as session:
        assert (session.manifest.schema_version, session.manifest.task, session.manifest.line) == (
            2,
            "inspection",
            "kept",
        )
        assert session.manifest.outputs[0].shape == ("N", 2)
        assert golden.check(session, session.bundle).count == 2
