from __future__ import annotations

import shutil
from collections import Counter

import cv2
import numpy as np
import pytest

from edgetl.data.load import load_dataset
from edgetl.data.split_file import recall, write_split
from edgetl.errors import DataError
from edgetl.run import RunFolder
from edgetl_runtime.errors import UsageError


def counts(dataset):
    return Counter((s.split, dataset.classes[s.label]) for s in dataset.samples)


def write_csv(root, rows, header="path,label"):
    file = root / "parts.csv"
    file.write_text("\n".join([header, *rows]) + "\n")
    return file


def rows_of(parts, extra=lambda label, index: ""):
    return [
        f"{file.relative_to(parts)},{file.parent.name}{extra(file.parent.name, index)}"
        for index, file in enumerate(sorted(parts.rglob("*.png")))
    ]


def test_load_dataset_splits_class_folders_by_the_fractions(parts):
    dataset = load_dataset(parts)
    assert counts(dataset) == {
        ("train", "ok"): 8,
        ("val", "ok"): 1,
        ("test", "ok"): 3,
        ("train", "scratch"): 5,
        ("val", "scratch"): 1,
        ("test", "scratch"): 2,
    }
    assert dataset.bad == ()
    assert [len(dataset.split(name)) for name in ("train", "val", "test")] == [13, 2, 5]


def test_load_dataset_gives_the_same_splits_for_the_same_seed_only(parts):
    first, again, other = (load_dataset(parts, seed=seed) for seed in (3, 3, 4))
    assert first == again
    assert first.digest == again.digest
    assert first.digest != other.digest


def test_load_dataset_keeps_given_splits(split_parts):
    assert set(counts(load_dataset(split_parts)).values()) == {6, 5}


def test_load_dataset_carves_val_out_of_train_when_it_is_missing(split_parts):
    shutil.rmtree(split_parts / "val")
    found = counts(load_dataset(split_parts, val_fraction=0.34))
    assert found["test", "ok"] == 6
    assert found["test", "scratch"] == 5
    assert (found["val", "ok"], found["val", "scratch"]) == (2, 2)
    assert (found["train", "ok"], found["train", "scratch"]) == (4, 3)


def test_load_dataset_carves_test_out_of_train_when_it_is_missing(split_parts):
    shutil.rmtree(split_parts / "test")
    found = counts(load_dataset(split_parts, test_fraction=0.34))
    assert (found["val", "ok"], found["val", "scratch"]) == (6, 5)
    assert (found["test", "ok"], found["test", "scratch"]) == (2, 2)
    assert (found["train", "ok"], found["train", "scratch"]) == (4, 3)


def test_load_dataset_reads_a_csv_like_the_folders_it_lists(parts):
    file = write_csv(parts, rows_of(parts))
    assert load_dataset(file).digest == load_dataset(parts).digest


def test_load_dataset_keeps_groups_in_one_split_and_classes_in_every_split(parts):
    file = write_csv(parts, rows_of(parts, lambda label, i: f",{label}-lot{i % 4}"), "path,label,group")
    dataset = load_dataset(file)
    where = {}
    for sample in dataset.samples:
        where.setdefault(sample.group, set()).add(sample.split)
    assert all(len(splits) == 1 for splits in where.values())
    assert len(counts(dataset)) == 6


def test_load_dataset_keeps_copies_in_one_split(parts):
    for index in range(12):
        shutil.copy(parts / "ok" / f"{index:02}.png", parts / "ok" / f"copy{index}.png")
    dataset = load_dataset(parts)
    where = {}
    for sample in dataset.samples:
        where.setdefault(sample.sha256, set()).add(sample.split)
    assert len(dataset.samples) == 32
    assert all(len(splits) == 1 for splits in where.values())
    assert dataset.notes[0].startswith("12 images are copies of another one of the same class: kept in one split")


def test_load_dataset_keeps_groups_that_share_a_copy_in_one_split(parts):
    shutil.copy(parts / "ok" / "00.png", parts / "ok" / "99.png")
    groups = {"ok/00.png": "a", "ok/01.png": "a", "ok/99.png": "b", "ok/02.png": "b"}
    rows = [f"{row},{groups.get(row.split(',')[0], '')}" for row in rows_of(parts)]
    for seed in range(5):
        dataset = load_dataset(write_csv(parts, rows, "path,label,group"), seed=seed)
        assert len({s.split for s in dataset.samples if s.group}) == 1


def test_load_dataset_carries_certainty_and_group(parts):
    file = write_csv(parts, rows_of(parts, lambda _, i: f",g{i},0.75"), "path,label,group,certainty")
    assert {(s.certainty, s.group[0]) for s in load_dataset(file).samples} == {(0.75, "g")}


def test_load_dataset_reports_progress_once_an_image(parts):
    seen = []
    load_dataset(parts, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i, 20) for i in range(1, 21)]


def damage(file, how):
    data = file.read_bytes()
    match how:
        case "empty":
            file.write_bytes(b"")
        case "truncated":
            file.write_bytes(data[: len(data) // 2])
        case "corrupt":
            file.write_bytes(data[:200] + bytes(200) + data[400:])
        case "text":
            file.write_text("not an image")
        case "missing":
            file.unlink()
            file.symlink_to("nowhere.png")
        case "deep":
            file.write_bytes(cv2.imencode(".png", np.full((9, 9), 4000, np.uint16))[1].tobytes())


REASONS = {
    "empty": "an empty file",
    "truncated": r"a truncated file of \d+ bytes",
    "corrupt": "bytes that do not decode",
    "text": "bytes that do not decode",
    "missing": "No such file or directory",
    "deep": "16-bit data",
}


@pytest.mark.parametrize("how", REASONS)
def test_load_dataset_refuses_a_bad_image_and_names_it(parts, how):
    damage(parts / "ok" / "03.png", how)
    with pytest.raises(
        DataError, match=rf"must be readable; got 1 that is not: ok/03\.png \({REASONS[how]}\)\.\nTry: .*--skip-bad"
    ):
        load_dataset(parts)


@pytest.mark.parametrize("how", REASONS)
def test_load_dataset_goes_on_without_a_bad_image_when_told(parts, how):
    damage(parts / "ok" / "03.png", how)
    dataset = load_dataset(parts, skip_bad=True)
    assert [image.path.name for image in dataset.bad] == ["03.png"]
    assert len(dataset.samples) == 19


def test_load_dataset_reads_deep_images_when_the_depth_is_declared(parts):
    damage(parts / "ok" / "03.png", "deep")
    assert len(load_dataset(parts, bit_depth=12).samples) == 20


def test_load_dataset_names_five_bad_images_and_counts_the_rest(parts):
    for index in range(7):
        damage(parts / "ok" / f"{index:02}.png", "empty")
    with pytest.raises(DataError, match=r"got 7 that are not: ok/00\.png .*ok/04\.png \(an empty file\) and 2 more\."):
        load_dataset(parts)


def test_load_dataset_refuses_a_class_with_fewer_than_five_images(parts, image):
    for index in range(4):
        image(parts / "dent" / f"{index}.png", 500 + index)
    message = r"must be given at least 5 usable images; got dent with 4 \(dent/0\.png, dent/1\.png, .*dent/3\.png\)"
    with pytest.raises(DataError, match=message):
        load_dataset(parts)


def test_load_dataset_counts_usable_images_only(parts):
    for index in range(4):
        damage(parts / "scratch" / f"{index:02}.png", "empty")
    with pytest.raises(DataError, match="at least 5 usable images; got scratch with 4"):
        load_dataset(parts, skip_bad=True)


def test_load_dataset_refuses_an_empty_class_folder(parts):
    (parts / "dent").mkdir()
    with pytest.raises(DataError, match=r"got dent with 0 \(no file\)"):
        load_dataset(parts)


def test_load_dataset_refuses_one_class_only(parts):
    shutil.rmtree(parts / "scratch")
    with pytest.raises(DataError, match="must be of at least 2 classes; got only ok"):
        load_dataset(parts)


def test_load_dataset_refuses_classes_whose_names_say_the_same_and_pairs_like_with_like(parts):
    for name in ("OK", "Scratch", "no-dent", "no dent"):
        shutil.copytree(parts / "ok", parts / name)
    with pytest.raises(DataError, match="must be different in more than case, spaces and dashes") as caught:
        load_dataset(parts)
    assert caught.value.got == "OK beside ok, Scratch beside scratch, no dent beside no-dent"
    assert caught.value.fix == (
        "put OK and ok; Scratch and scratch; no dent and no-dent into one folder each, or rename what differs"
    )


def test_load_dataset_refuses_one_image_in_two_splits(split_parts):
    shutil.copy(split_parts / "train" / "ok" / "00.png", split_parts / "test" / "ok" / "other name.png")
    message = (
        r"in one split only; got 1 that is not: train/ok/00\.png \(in train, same content as test/ok/other name\.png"
    )
    with pytest.raises(DataError, match=message):
        load_dataset(split_parts)


def test_load_dataset_drops_the_copy_outside_test_when_told(split_parts):
    shutil.copy(split_parts / "train" / "ok" / "00.png", split_parts / "test" / "ok" / "copy.png")
    dataset = load_dataset(split_parts, skip_bad=True)
    assert [str(image.path.relative_to(split_parts)) for image in dataset.bad] == ["train/ok/00.png"]
    assert len(dataset.split("test")) == 12


def test_load_dataset_refuses_one_image_with_two_labels(parts):
    shutil.copy(parts / "ok" / "00.png", parts / "scratch" / "99.png")
    with pytest.raises(DataError, match=r"must be labelled once; got 2 that are not: ok/00\.png \(labelled ok, same"):
        load_dataset(parts)
    assert len(load_dataset(parts, skip_bad=True).samples) == 19


def test_load_dataset_refuses_rows_listed_twice(parts):
    rows = rows_of(parts)
    with pytest.raises(
        DataError, match=r"must be listed once; got 1 that is not: ok/00\.png \(listed 2 times, used once\)"
    ):
        load_dataset(write_csv(parts, [*rows, rows[0]]))


def test_load_dataset_keeps_one_of_two_equal_rows_and_none_of_two_that_disagree_when_told(parts):
    rows = rows_of(parts)
    dataset = load_dataset(write_csv(parts, [*rows, rows[0], "ok/01.png,scratch"]), skip_bad=True)
    names = [dataset.name_of(sample) for sample in dataset.samples]
    assert names.count("ok/00.png") == 1
    assert "ok/01.png" not in names
    assert [(image.path.name, image.reason) for image in dataset.bad] == [
        ("00.png", "listed 2 times, used once"),
        ("01.png", "listed 2 times, with different labels, splits or groups"),
    ]


def test_load_dataset_refuses_csv_rows_without_a_file(parts):
    with pytest.raises(DataError, match=r"got 1 that is not: ok/none\.png \(No such file or directory\)"):
        load_dataset(write_csv(parts, [*rows_of(parts), "ok/none.png,ok"]))


def test_load_dataset_refuses_a_given_split_without_a_class(split_parts):
    shutil.rmtree(split_parts / "val" / "scratch")
    with pytest.raises(DataError, match="must be given images of every class; got no scratch in val"):
        load_dataset(split_parts)


def test_load_dataset_refuses_a_group_in_two_given_splits(parts):
    def extra(_, index):
        return f",lot1,{('train', 'val', 'test')[index % 3]}"

    file = write_csv(parts, rows_of(parts, extra), "path,label,group,split")
    with pytest.raises(DataError, match="must be in one split each; got lot1 in test and train and val"):
        load_dataset(file)


def test_load_dataset_refuses_groups_too_few_to_split(parts):
    file = write_csv(parts, rows_of(parts, lambda label, _: f",{label}"), "path,label,group")
    with pytest.raises(DataError, match=r"got no ok in val.*; images of ok are in 1 group \(12 in ok\)") as caught:
        load_dataset(file)
    assert caught.value.fix == "divide the largest groups, add groups, or give a column split"


def test_load_dataset_takes_unusual_file_names(parts, image):
    odd = ["with space.png", "ünïcødé 缺陷.png", "semi;colon,comma.png", "new\nline.png", "-dash.png", "%41.png"]
    for index, name in enumerate(odd):
        image(parts / "ok" / name, 700 + index)
    names = {sample.path.name for sample in load_dataset(parts).samples}
    assert set(odd) <= names


def test_load_dataset_takes_and_names_file_names_that_are_not_utf8(parts):
    odd = parts / "ok" / "latin\udcfc.png"
    (parts / "ok" / "00.png").rename(odd)
    dataset = load_dataset(parts)
    assert len(dataset.digest) == 64
    odd.write_bytes(b"")
    with pytest.raises(DataError, match=r"ok/latin\\udcfc\.png \(an empty file\)") as caught:
        load_dataset(parts)
    assert str(caught.value).encode()  # can be printed


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan")])
def test_load_dataset_refuses_fractions_out_of_range(parts, fraction):
    with pytest.raises(UsageError, match="val_fraction must be between 0 and 1"):
        load_dataset(parts, val_fraction=fraction)
    with pytest.raises(UsageError, match="test_fraction must be between 0 and 1"):
        load_dataset(parts, test_fraction=fraction)


def remembered_of(dataset, tmp_path):
    write_split(tmp_path / "split.csv", dataset)
    return recall(str(tmp_path / "split.csv"), RunFolder(tmp_path / "new"))


def test_load_dataset_keeps_the_split_of_images_an_earlier_run_knows(parts, image, tmp_path):
    before = load_dataset(parts)
    for index in range(12):
        image(parts / "ok" / f"a{index}.png", 900 + index)
    (parts / "ok" / "03.png").rename(parts / "ok" / "renamed.png")
    known = remembered_of(before, tmp_path)
    after = load_dataset(parts, remembered=known, seed=9)
    old = {s.sha256: s.split for s in before.samples}
    assert {s.sha256: s.split for s in after.samples if s.sha256 in old} == old
    new = Counter(s.split for s in after.samples if s.sha256 not in old)
    assert (new["train"], new["val"], new["test"]) == (8, 1, 3)  # drawn by the fractions
    assert after.notes == (f"split kept as in {known.source} for 20 of 32 images, drawn for 12",)


def test_load_dataset_puts_new_images_of_a_known_group_where_the_group_is(parts, image, tmp_path):
    known = remembered_of(
        load_dataset(write_csv(parts, rows_of(parts, lambda _, i: f",lot{i}"), "path,label,group")), tmp_path
    )
    shutil.rmtree(parts / "scratch")  # even where nothing of the group is left
    for index in range(8):
        image(parts / "scratch" / f"{index:02}.png", 500 + index)
    after = load_dataset(
        write_csv(parts, rows_of(parts, lambda _, i: f",lot{i}"), "path,label,group"), remembered=known
    )
    assert {s.group: s.split for s in after.samples} == dict(known.groups)


def test_load_dataset_refuses_by_name_an_image_that_joins_two_splits(parts, image, tmp_path):
    before = load_dataset(parts)
    known = remembered_of(before, tmp_path)
    image(parts / "ok" / "new.png", 900)
    one, other = (next(s.path.name for s in before.split(n) if s.label == 0) for n in ("train", "test"))
    rows = [f"{row},{'lot' if row.split(',')[0][3:] in (one, other, 'new.png') else ''}" for row in rows_of(parts)]
    with pytest.raises(DataError, match=r"got ok/new\.png, which by group or content binds images of test and train"):
        load_dataset(write_csv(parts, rows, "path,label,group"), remembered=known)


@pytest.mark.parametrize(("declared", "said"), [(16, True), (12, False)])
def test_load_dataset_says_that_a_declared_depth_leaves_images_dark(tmp_path, declared, said):
    for number, label in enumerate(("ok", "scratch")):
        (tmp_path / label).mkdir()
        for index in range(8):
            pixels = np.random.default_rng(100 * number + index).integers(0, 4096, (20, 24), dtype=np.uint16)
            (tmp_path / label / f"{index}.png").write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    notes = load_dataset(tmp_path, bit_depth=declared).notes
    dark = (
        "no image has a value of more than 12 of the 16 bits declared: the model sees them dark; "
        "--bit-depth 12 if that is the camera's depth",
    )
    assert notes == (dark if said else ())
