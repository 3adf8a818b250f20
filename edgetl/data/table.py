"""Read labelled images from a CSV file."""

from __future__ import annotations

import csv
import difflib
import io
from typing import TYPE_CHECKING

from edgetl.data.folder import SPLIT_OF_FOLDER, Entry, Listing
from edgetl.errors import DataError
from edgetl_runtime.errors import unreadable

if TYPE_CHECKING:
    from pathlib import Path

REQUIRED = ("path", "label")
OPTIONAL = ("split", "group", "certainty")
OURS = "sha256"  # of a run's split.csv, which is a table too
# columns that often name what must stay together
LIKELY_GROUPS = frozenset({"batch", "board", "device", "lot", "part", "panel", "serial", "session", "wafer"})


def list_csv(file: Path) -> Listing:
    """List the images of a CSV file with the columns path, label and optionally split, group, certainty.

    Relative paths start at the folder of the file. UTF-8 with or without a byte-order mark, any line ends, comma or
    semicolon. Other columns are ignored, which is noted, unless they look like a misspelt one of ours
    or divide the images into splits.

    Raises:
        DataError: A column is missing or misspelt, or a row lacks a value or has one that is not allowed.
    """
    rows, columns = _read_rows(file)
    _check_columns(file, columns)
    if not rows:
        raise DataError(
            f"file {file}", "filled with one row per image", "no row", fix="write one line per image: path,label"
        )
    unread = [name for name in columns if name and name not in (*REQUIRED, *OPTIONAL, OURS)]
    _check_unread(file, unread, [row for _, row in rows], columns)
    root = file.absolute().parent
    entries = [_entry(file, line, row, root) for line, row in rows]
    empty = [line for (line, _), entry in zip(rows, entries, strict=True) if entry.split is None]
    if 0 < len(empty) < len(rows):
        missing = empty[0]
        must = "given in every row or in none"
        raise _bad(file, missing, "split", must, "an empty cell", fix="fill the column, or delete it")
    entries.sort(key=lambda entry: entry.path)
    classes = tuple(sorted({e.label for e in entries}))
    return Listing(root=root, classes=classes, entries=tuple(entries), notes=_notes(unread, columns))


def _check_unread(file: Path, unread: list[str], rows: list[dict[str, str]], columns: list[str]) -> None:
    """Refuse a column that divides the images into train and test under a name that is not read."""
    for name in unread if "split" not in columns else ():
        if {row[name].lower() for row in rows} <= SPLIT_OF_FOLDER.keys():
            fix = "rename it to split to keep this division, or delete it for a new one"
            got = f"'{name}', with {rows[0][name]} in its first row"
            raise DataError(f"column '{name}' of {file}", "called split", got, fix=fix)


def _notes(unread: list[str], columns: list[str]) -> tuple[str, ...]:
    if not unread:
        return ()
    said = [f"ignored columns: {', '.join(unread)}"]
    if "group" not in columns:
        said += [
            f"images of one {name} may end up in two splits and flatter the test: "
            f"rename the column {name} to group to keep them together"
            for name in unread
            if name in LIKELY_GROUPS
        ]
    return tuple(said)


def _read_rows(file: Path) -> tuple[list[tuple[int, dict[str, str]]], list[str]]:
    """Return (line, row) pairs and the column names, stripped."""
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise unreadable(DataError, f"file {file}", error, path=file) from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"file {file}", "UTF-8 text", f"byte {error.start} that is not", fix="save it as CSV UTF-8"
        ) from error
    header = text.partition("\n")[0]
    delimiter = ";" if ";" in header and "," not in header else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[tuple[int, dict[str, str]]] = []
    columns: list[str] = []
    try:
        columns = [name.strip().lower() for name in next(reader, [])]
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(columns):
                raise _bad(
                    file, reader.line_num, "row", f"of {len(columns)} cells", str(len(cells)), fix="quote commas"
                )
            rows.append((reader.line_num, dict(zip(columns, (cell.strip() for cell in cells), strict=True))))
    except csv.Error as error:
        raise _bad(file, reader.line_num, "row", "well-formed CSV", str(error), fix="correct the quotes") from error
    return rows, columns


def _check_columns(file: Path, columns: list[str]) -> None:
    missing = [name for name in REQUIRED if name not in columns]
    if missing:
        must = f"given the columns {', '.join(REQUIRED)} in its first line"
        got = ", ".join(columns) or "no columns"
        raise DataError(f"file {file}", must, got, fix=f"name a column {missing[0]}")
    for name in columns:
        if columns.count(name) > 1:
            raise DataError(f"column '{name}' of {file}", "present once", f"{columns.count(name)}", fix="rename one")
        close = difflib.get_close_matches(name, OPTIONAL, n=1, cutoff=0.8)
        if close and name not in OPTIONAL and close[0] not in columns:
            must = f"spelt {close[0]}, or clearly different"
            raise DataError(f"column '{name}' of {file}", must, f"'{name}'", fix=f"rename it to {close[0]}")


def _entry(file: Path, line: int, row: dict[str, str], root: Path) -> Entry:
    for name in REQUIRED:
        if not row[name]:
            raise _bad(file, line, name, "given", "an empty cell", fix="fill it or delete the row")
    split = row.get("split", "").lower()
    if split and split not in SPLIT_OF_FOLDER:
        raise _bad(file, line, "split", "train, val or test", f"'{row['split']}'", fix="write train, val or test")
    try:
        path = root / row["path"]
        path.lstat()
    except ValueError as error:  # NUL in a name; a file that is merely missing is found when it is opened
        raise _bad(file, line, "path", "a file name", repr(row["path"])[:80], fix="correct the path") from error
    except OSError:
        pass
    return Entry(
        path=path,
        label=row["label"],
        split=SPLIT_OF_FOLDER[split] if split else None,
        group=row.get("group") or None,
        certainty=_certainty(file, line, row.get("certainty", "")),
    )


def _certainty(file: Path, line: int, word: str) -> float:
    if not word:
        return 1.0
    try:
        value = float(word)
    except ValueError:
        value = float("nan")
    if not 0.5 <= value <= 1:
        raise _bad(file, line, "certainty", "from 0.5 to 1", f"'{word}'", fix="1.0")
    return value


def _bad(file: Path, line: int, what: str, must: str, got: str, *, fix: str) -> DataError:
    return DataError(f"{what} in line {line} of {file}", must, got, fix=fix)
