from __future__ import annotations

import base64
import dataclasses
import html.parser
import json
import re
import shutil
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from edgetl.report.run_report import fixed, percent, read_epochs, words, write_run_report

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SEVEN = ("ok", "open", "short", "mousebite", "spur", "pinhole", "copper")
HOSTILE = ("ok", "<script>alert(1)</script>", "a\"b' onerror='x", "$\\frac{1}$ & 裂纹")


class Tags(html.parser.HTMLParser):
    """Collects tags and attributes, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "img", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += " ".join(data.split()) + " "


def report_of(fake: object) -> Tags:
    write_run_report(fake.folder, fake.run)  # type: ignore[attr-defined]
    path = fake.folder.report  # type: ignore[attr-defined]
    tags = Tags(path.read_text(encoding="utf-8"))
    assert tags.open == []
    return tags


def images(tags: Tags, alt: str = "") -> list[str]:
    return [str(a["src"]) for t, a in tags.tags if t == "img" and alt in str(a["alt"])]


@pytest.mark.parametrize("classes", [("ok", "scratch"), SEVEN], ids=["two classes", "seven classes"])
def test_report_holds_every_section_and_refers_to_nothing_outside(fake_run: Callable, classes: tuple[str, ...]) -> None:
    fake = fake_run(classes=classes)
    fake.deploy()
    tags = report_of(fake)
    assert fake.folder.report == fake.folder.path / "report.html"
    for heading in (
        "May I ship this?",
        "Model on test",
        "Worst errors",
        "Deployments",
        "Data",
        "Training",
        "Provenance",
    ):
        assert heading in tags.text
    assert {t for t, _ in tags.tags}.isdisjoint({"script", "link", "iframe", "object"})
    links = [str(a[k]) for _, a in tags.tags for k in ("src", "href") if k in a]
    assert all(link.startswith(("data:image/", "#")) for link in links)
    for alt in ("ROC", "Defect scores", "confidence", "training and validation", "candidates for ipc-openvino"):
        assert len(images(tags, alt)) == 1
    cells = [a for t, a in tags.tags if t == "td" and str(a.get("style", "")).startswith("--share")]
    assert len(cells) == len(classes) ** 2


def test_report_shows_the_figures_of_the_run(fake_run: Callable) -> None:
    fake = fake_run(separation=1.5)
    text = report_of(fake).text
    test = fake.run.test
    assert test["escapes"] > 0
    assert percent(test["accuracy"]).replace("\u00a0", " ") in text
    assert f"{test['escapes']} escapes among 20 defects of test" in text
    assert f"{test['overkill']} / {test['n_good']}" in text


def test_a_bound_is_the_same_in_the_answer_and_beside_the_count(fake_run: Callable) -> None:
    fake = fake_run(separation=1.5)
    text = report_of(fake).text
    bound = re.search(r"the escape rate is below ([\d.]+) %", text)
    assert bound
    assert f"below {bound[1]} % with 95 % confidence" in text.replace("\u00a0", " ")


def test_report_escapes_hostile_names(fake_run: Callable) -> None:
    fake = fake_run(classes=HOSTILE, separation=1.0)
    evil = fake.folder.path.parent / "test_\"onload='x'<b>.png"
    old = fake.folder.path.parent / "test_021.png"
    old.rename(evil)
    for file in (fake.folder.split_csv, fake.folder.predictions):
        quoted = '"' + str(evil).replace('"', '""') + '"'
        file.write_text(file.read_text(encoding="utf-8").replace(str(old), quoted), encoding="utf-8")
    data = {**fake.run.data, "bad": [{"path": "<img src=x>", "reason": "</td><script>"}]}
    fake.deploy(target="<i>box</i>", note="<script>", bundle="{{ 7 * 7 }}")
    tags = report_of(dataclasses.replace(fake, run=dataclasses.replace(fake.run, data=data)))
    assert {t for t, _ in tags.tags}.isdisjoint({"script", "i", "x"})
    assert not any(name.startswith("on") for _, a in tags.tags for name in a)
    for name in HOSTILE[1:]:
        assert name in tags.text
    assert "{{ 7 * 7 }}" in tags.text
    assert "<img src=x>" in tags.text
    for uri in images(tags):
        if uri.startswith("data:image/svg+xml;base64,"):
            svg = base64.b64decode(uri.partition(",")[2])
            assert not [e.tag for e in ET.fromstring(svg).iter() if "script" in str(e.tag)]


def test_report_can_be_written_when_names_are_not_text(fake_run: Callable) -> None:
    fake = fake_run(classes=("ok", "bell\x07\udcff"), separation=1.0)
    write_run_report(fake.folder, fake.run)
    path = fake.folder.report
    assert "bell" in path.read_text(encoding="utf-8")


def test_report_is_the_same_for_the_same_run(fake_run: Callable) -> None:
    fake = fake_run()
    fake.deploy()
    write_run_report(fake.folder, fake.run)
    first = fake.folder.report.read_bytes()
    write_run_report(fake.folder, fake.run)
    assert fake.folder.report.read_bytes() == first


def test_report_works_without_finetuning(fake_run: Callable) -> None:
    fake = fake_run(kept="baseline", finetuned_val=None)
    fake.folder.metrics.write_text(
        '{"phase": "baseline", "val_log_loss": -0.0, "val_accuracy": 1.0}\n', encoding="utf-8"
    )
    tags = report_of(fake)
    assert "No epochs were trained" in tags.text
    assert "not fine-tuned" in tags.text
    assert "No bundle was written" in tags.text
    assert images(tags, "training and validation") == []


def test_report_says_negative_transfer(fake_run: Callable) -> None:
    assert "Negative transfer" in report_of(fake_run(kept="baseline")).text


def test_report_says_which_images_are_gone(fake_run: Callable) -> None:
    fake = fake_run(separation=1.0)
    for file in fake.folder.path.parent.glob("*.png"):
        file.unlink()
    tags = report_of(fake)
    assert "the file is gone" in tags.text
    assert "Not checked: 120 of 120 image files are gone" in tags.text
    assert not any("image/jpeg" in uri for uri in images(tags))


def test_report_survives_missing_and_damaged_files(fake_run: Callable) -> None:
    fake = fake_run()
    fake.deploy()
    for file in (fake.folder.split_csv, fake.folder.predictions, fake.folder.metrics):
        file.unlink()
    (fake.folder.path / "deployments" / "torn.json").write_text('{"schema"', encoding="utf-8")
    text = report_of(fake).text
    assert "predictions.csv is missing or empty" in text
    assert "split.csv is missing" in text
    assert "deployments/torn.json is not what edgetl deploy writes" in text


def test_report_shows_deployments_with_and_without_latency(fake_run: Callable, deployment_json: dict) -> None:
    fake = fake_run()
    fake.deploy()
    untimed = [
        {**c, "latency_ms": None, "measured_on": "not measured on hardware"} for c in deployment_json["candidates"]
    ]
    fake.deploy("jetson", target="jetson-orin-nano", candidates=untimed, memory_mb=None)
    text = report_of(fake).text
    assert "5.8 ms" in text
    assert "openvino-int8-t1 for ipc-openvino; Fast CPU" in text
    assert "accuracy drop 8.00 pp > 1.67" in text
    assert "jetson-orin-nano: latency was not measured on hardware" in text
    assert "latency not measured on hardware" in text


def test_report_shows_previews_and_worst_errors_as_small_pictures(fake_run: Callable) -> None:
    fake = fake_run(separation=0.5)
    tags = report_of(fake)
    assert len(images(tags, "varied")) == 3 * 7
    assert len(images(tags, ", verdict ")) == 12
    assert re.search(r"\d+ errors; the worst 12 are shown", tags.text)


def test_report_shows_near_duplicates_across_splits(fake_run: Callable) -> None:
    fake = fake_run()
    shutil.copy(fake.folder.path.parent / "train_000.png", fake.folder.path.parent / "test_000.png")
    rows = fake.folder.split_csv.read_text(encoding="utf-8").splitlines()
    digest = next(r for r in rows if "train_000" in r).rsplit(",", 1)[1]
    rows = [r.rsplit(",", 1)[0] + "," + digest if "test_000" in r else r for r in rows]
    fake.folder.split_csv.write_text("\n".join(rows) + "\n", encoding="utf-8")
    text = report_of(fake).text
    assert "1 pair, 1 test image among them" in text
    assert "1 of 40 test images look nearly the same" in text


def test_read_epochs_counts_a_resumed_epoch_once(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = [{"phase": "baseline", "val_accuracy": 0.5}] * 2
    lines += [{"phase": "top", "epoch": e, "val_accuracy": a} for e, a in ((1, 0.6), (2, 0.65), (2, 0.7))]
    path.write_text("\n".join(map(json.dumps, lines)) + '\n{"phase": "to', encoding="utf-8")
    epochs, baseline = read_epochs(path)
    assert [e["val_accuracy"] for e in epochs] == [0.6, 0.7]
    assert baseline == {"phase": "baseline", "val_accuracy": 0.5}


def test_words_and_numbers_read_as_a_person_writes_them() -> None:
    assert [words(v) for v in (None, True, ("a", "b"), (), 5.0, 3)] == ["–", "yes", "a, b", "none", "5", "3"]  # noqa: RUF001
    assert percent(0.9876, 2) == "98.76\u00a0%"
    assert fixed(None) == "–"  # noqa: RUF001


def test_report_shows_a_second_deployment_for_a_target_above_the_first(fake_run: Callable) -> None:
    fake = fake_run()
    fake.deploy("a", bundle="first.edgetl", deployed_at="2026-01-02T03:04:05+00:00")
    fake.deploy("b", bundle="second.edgetl", deployed_at="2026-01-03T03:04:05+00:00", unproven=["memory of 90 MB"])
    text = report_of(fake).text
    assert (
        0
        < text.index("second.edgetl")
        < text.index("a newer one for this target is above")
        < text.index("first.edgetl")
    )
    assert "2026-01-03 03:04:05+00:00" in text
    assert "memory of 90 MB" in text
