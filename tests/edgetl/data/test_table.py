from __future__ import annotations

import pytest

from edgetl.data.table import list_csv
from edgetl.errors import DataError

PLAIN = "path,label\na.png,ok\nb c/ü.png,bad\n"


@pytest.fixture
def table(tmp_path):
    def write(text: str | bytes):
        file = tmp_path / "parts.csv"
        file.write_bytes(text.encode() if isinstance(text, str) else text)
        return file

    return write


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace(",", ";"),
        "\ufeff" + PLAIN,
        PLAIN.replace("path,label", " Path , LABEL "),
        PLAIN + "\n\n",
        PLAIN.rstrip("\n"),
        PLAIN.replace("a.png,ok", '"a.png","ok"'),
    ],
    ids=["plain", "crlf", "semicolon", "bom", "capitals", "empty lines", "no last newline", "quoted"],
)
def test_list_csv_reads_the_usual_spellings_alike(table, tmp_path, text):
    listing = list_csv(table(text))
    assert [(e.path, e.label, e.split) for e in listing.entries] == [
        (tmp_path / "a.png", "ok", None),
        (tmp_path / "b c/ü.png", "bad", None),
    ]
    assert listing.classes == ("bad", "ok")
    assert listing.root == tmp_path


def test_list_csv_reads_the_optional_columns_and_ignores_others(table):
    text = "label,path,split,group,certainty,camera\nok,a.png,Train,lot 1,0.75,left\nok,/x/b.png,validation,,,right\n"
    first, second = sorted(list_csv(table(text)).entries, key=lambda e: e.path.name)
    assert (first.split, first.group, first.certainty) == ("train", "lot 1", 0.75)
    assert (second.split, second.group, second.certainty) == ("val", None, 1.0)
    assert str(second.path) == "/x/b.png"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"must be given the columns path, label in its first line; got no columns"),
        ("file,class\na.png,ok\n", r"must be given the columns path, label in its first line; got file, class"),
        ("path,label\n", "must be filled with one row per image; got no row"),
        ("path,label,splits\na.png,ok,train\n", "column 'splits' .* must be spelt split"),
        ("path,label,label\na.png,ok,ok\n", "column 'label' .* must be present once; got 2"),
        ("path,label\na.png\n", r"row in line 2 of .* must be of 2 cells; got 1"),
        ("path,label\na,b.png,ok\n", r"row in line 2 of .* must be of 2 cells; got 3"),
        ("path,label\na.png,\n", "label in line 2 of .* must be given; got an empty cell"),
        ("path,label\na.png,ok\n,ok\n", "path in line 3 of .* must be given; got an empty cell"),
        ("path,label\na\0.png,ok\n", "line 2 of .* must be"),
        ("path,label,split\na.png,ok,holdout\n", "split in line 2 of .* must be train, val or test; got 'holdout'"),
        (
            "path,label,split\na.png,ok,train\nb.png,ok,\n",
            "split in line 3 of .* must be given in every row or in none",
        ),
        ("path,label,certainty\na.png,ok,0.3\n", "certainty in line 2 of .* must be from 0.5 to 1; got '0.3'"),
        ("path,label,certainty\na.png,ok,nan\n", "certainty in line 2 of .* must be from 0.5 to 1; got 'nan'"),
        ("path,label,certainty\na.png,ok,high\n", "certainty in line 2 of .* must be from 0.5 to 1; got 'high'"),
        ('path,label\n"a.png,ok\n', "must be well-formed CSV"),
        ("path,label\nä.png,ok\n".encode("latin-1"), "must be UTF-8 text; got byte 11 that is not"),
    ],
)
def test_list_csv_refuses_and_names_the_line(table, text, message):
    with pytest.raises(DataError, match=message):
        list_csv(table(text))


def test_list_csv_refuses_a_missing_file(tmp_path):
    with pytest.raises(DataError, match=r"cannot read file .*none\.csv: No such file or directory"):
        list_csv(tmp_path / "none.csv")


def test_list_csv_refuses_splits_in_a_column_of_another_name(table):
    with pytest.raises(DataError, match=r"column 'subset' .* must be called split") as caught:
        list_csv(table("path,label,subset\na.png,ok,train\nb.png,bad,Test\n"))
    assert caught.value.fix == "rename it to split to keep this division, or delete it for a new one"


@pytest.mark.parametrize("name", ["lot", "Batch", "session", "serial"])
def test_list_csv_says_which_columns_it_passes_over_and_what_may_be_groups(table, name):
    listing = list_csv(table(f"path,label,camera,{name}\na.png,ok,left,1\nb.png,bad,left,2\n"))
    assert listing.notes == (
        f"ignored columns: camera, {name.lower()}",
        f"images of one {name.lower()} may end up in two splits and flatter the test: "
        f"rename the column {name.lower()} to group to keep them together",
    )


def test_list_csv_is_silent_where_every_column_is_used(table):
    assert list_csv(table("path,label,group\na.png,ok,1\n")).notes == ()


def test_list_csv_proposes_no_split_where_one_is_unknown(table):
    with pytest.raises(DataError, match="got 'dev'") as caught:
        list_csv(table("path,label,split\na.png,ok,dev\n"))
    assert caught.value.fix == "write train, val or test"
