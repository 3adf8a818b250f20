from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from edgetl.report.deployments import deployment_from_json
from edgetl.report.verdict import answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgetl.report.deployments import Deployment
    from edgetl.run import Run


@pytest.fixture
def good_run(fake_run: Callable) -> Callable[..., Run]:
    """A run without anything against it, 400 defects on test and no error; changes go into `test`."""
    run = fake_run(separation=50.0).run

    def make(*, fields: dict[str, Any] | None = None, **test: Any) -> Run:
        figures = {**run.test, "n": 800, "n_defect": 400, "n_good": 400, **test}
        figures |= {f"{key}_groups": test.get(f"{key}_groups", figures[key]) for key in ("n_defect", "n_good")}
        return dataclasses.replace(run, test=figures, **(fields or {}))

    return make


def from_json(data: dict[str, Any]) -> Deployment:
    return deployment_from_json(data, counts=("escapes", "overkill"))


def levels(run: Run, *deployments: Any, lookalikes: int | None = 0) -> tuple[str, list[str]]:
    found = answer(run, deployments, lookalikes=lookalikes)
    return found.level, [p.text for p in found.points if p.level != "note"]


def test_answer_is_yes_when_nothing_speaks_against_it(good_run: Callable, deployment_json: dict) -> None:
    deployment_json["confirmed"]["escapes"] = 0
    assert levels(good_run(), from_json(deployment_json)) == ("yes", [])


@pytest.mark.parametrize(
    ("changes", "level", "words"),
    [
        ({"overkill": 81}, "stop", "81 of 400 good test parts (20 %) are rejected"),
        ({"escapes": 81}, "stop", "81 of 400 defects (20 %) pass unseen"),
        ({"n_defect": 0, "n_good": 800}, "stop", "holds no defects"),
        ({"n_good": 0}, "stop", "holds no good parts"),
        ({"auroc": 0.55}, "stop", "hardly tells defects from good parts"),
        ({"escapes": 2}, "care", "2 escapes among 400 defects"),
        ({"overkill": 2, "n_good": 12}, "care", "2 of 12 good parts of test rejected: with 95 % confidence"),
        (
            {"n_good": 12},
            "care",
            "0 of 12 good parts of test rejected: with 95 % confidence the overkill rate is below 22",
        ),
        ({"n_defect_groups": 4}, "care", "400 defects on test, in 4 groups, cannot show an escape rate below 5 %"),
        (
            {"n_defect": 28},
            "care",
            "28 defects on test cannot show an escape rate below 5 %: that takes 59 for 5 % and 299",
        ),
    ],
)
def test_answer_is_not_yes_when_test_speaks_against_it(
    good_run: Callable, changes: dict[str, Any], level: str, words: str
) -> None:
    found, texts = levels(good_run(**changes))
    assert found == level
    assert words in " ".join(texts)


def test_answer_stops_when_the_escape_rate_asked_for_is_missed(good_run: Callable) -> None:
    level, texts = levels(good_run(escapes=8, fields={"aims": {"max_escape_rate": 0.01}}))
    assert (level, texts[0]) == ("stop", "8 of 400 defects pass (2.0 %); at most 1 % was asked for.")


def test_answer_names_what_forbids_commercial_use(good_run: Callable) -> None:
    data = {**good_run().data, "licence": "CC BY-NC-SA 4.0"}
    assert levels(good_run(fields={"data": data}))[1] == [
        "The licence of the images forbids commercial use: CC BY-NC-SA 4.0."
    ]


@pytest.mark.parametrize(("lookalikes", "level"), [(None, "yes"), (0, "yes"), (40, "yes"), (41, "care")])
def test_answer_weighs_lookalikes(good_run: Callable, lookalikes: int | None, level: str) -> None:
    assert levels(good_run(), lookalikes=lookalikes)[0] == level


@pytest.mark.parametrize(
    ("reasons", "words"),
    [
        (["no int8", "disturbed"], "other work disturbed the latency measurement"),
        (["undecided"], "it was not clear which candidate is fastest"),
        (["fastest"], ""),
    ],
)
def test_answer_reads_the_reasons_of_notes_and_never_their_words(
    good_run: Callable, deployment_json: dict, reasons: list[str], words: str
) -> None:
    deployment_json["confirmed"]["escapes"] = 0
    deployment_json["notes"] = [{"reason": reason, "text": "disturbed, undecided"} for reason in reasons]
    level, texts = levels(good_run(), from_json({**deployment_json, "note": "disturbed"}))
    assert level == ("care" if words else "yes")
    assert words in " ".join(texts)


def test_answer_asks_to_measure_on_hardware(good_run: Callable, deployment_json: dict) -> None:
    for candidate in deployment_json["candidates"]:
        candidate["latency_ms"] = None
    deployment_json["confirmed"]["escapes"] = 0
    level, texts = levels(good_run(), from_json(deployment_json))
    assert (level, texts) == (
        "care", ["ipc-openvino: latency was not measured on hardware. Measure there before release."]
    )  # fmt: skip


def test_answer_stops_where_a_bundle_rejects_what_the_run_passes(good_run: Callable, deployment_json: dict) -> None:
    deployment_json["confirmed"] |= {"escapes": 0, "overkill": 400, "n_good": 400}
    level, texts = levels(good_run(), from_json(deployment_json))
    assert (level, texts[0]) == ("stop", "ipc-openvino: 400 of 400 good test parts (100 %) are rejected.")
