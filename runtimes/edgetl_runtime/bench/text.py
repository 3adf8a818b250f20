"""Records and comparisons in words: for the terminal, and as Markdown for GitHub and GitLab."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgetl_runtime import tasks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgetl_runtime.bench.measuring import Comparison
    from edgetl_runtime.bench.record import Record
    from edgetl_runtime.bench.statistics import Judgement

KINDS = {"decision_ms": "image to decision", "network_ms": "network alone", "inside_ms": "network within a decision"}
PERCENTILES = ("p50", "p90", "p99", "p99.9", "max")


def record_text(record: Record) -> str:
    """Return a record for the terminal: a table of latencies, then the figures around them."""
    bundle, summary = record.bundle, record.summary
    lines = [
        f"{bundle.name}: {bundle.variant} ({bundle.backend} {bundle.precision}), {bundle.size_bytes / 1e6:.1f} MB",
        f"{'ms':28}" + "".join(f"{name:>9}" for name in PERCENTILES) + f"{'n':>8}  95 % interval of p50",
    ]
    for key, title in KINDS.items():
        if key in summary:
            lines.append(_latency_line(title, summary[key]))
    lines += [
        f"start to first decision {number(summary['start_ms'], 0)} ms, load {number(summary['load_ms'], 0)} ms, "
        f"first decision {number(summary['first_ms'])} ms, memory {number(summary['memory_mb'], 0)} MB",
        f"{summary['rounds']} fresh processes, {len(record.discarded)} disturbed ones repeated, "
        f"{summary['unsteady']} not steady; {resolution(record.protocol.get('floor'))}",
    ]
    lines += _more(record)
    return "\n".join(lines)


def _more(record: Record) -> list[str]:
    summary, lines = record.summary, []
    if summary["late"] is not None:
        n = summary["decision_ms"]["n"]
        rate = f"{record.protocol['rate_hz']:g} parts a second, from the intended arrival"
        lines.append(f"open loop at {rate}: {summary['late']} of {n} decisions were late")
    if record.protocol.get("neighbours"):
        lines.append(f"beside {record.protocol['neighbours']} neighbours that decided all the time")
    if record.accuracy is not None:
        lines.append(accuracy_words(record.bundle.task, record.accuracy))
    if record.verdict == "disturbed":
        lines.append("DISTURBED: rounds beside other work were counted on request; not to be believed")
    return lines


def accuracy_words(task: str, accuracy: Mapping[str, Any]) -> str:
    """Return the figures of decisions on labelled images."""
    told = tasks.get(task).tell(accuracy)
    return f"accuracy {accuracy['accuracy']:.4f} on {accuracy['n']} images, {told}"


def _latency_line(title: str, latency: Mapping[str, Any]) -> str:
    interval = latency["interval"]
    words = f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else "needs 5 rounds"
    figures = "".join(f"{number(latency[name]):>9}" for name in PERCENTILES)
    return f"{title:28}{figures}{latency['n']:>8}  {words}"


def resolution(floor: float | None) -> str:
    """Say what this machine can tell apart."""
    if floor is None:
        return "resolution not known (edgetl compare A.edgetl --aa)"
    return f"resolution {floor:.1%} (a bundle against itself)"


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with fixed digits, or a dash where n was too small for it."""
    return "-" if value is None else f"{value:.{digits}f}"


def change(judgement: Judgement) -> str:
    """Return estimate and bounds of a change."""
    return f"{judgement.estimate:+.1%} (between {judgement.lower:+.1%} and {judgement.upper:+.1%})"


def names(found: Comparison) -> tuple[str, str]:
    """Return what the old and the new bundle are called; files of one name are told apart."""
    old, new = found.a.bundle.name, found.b.bundle.name
    return (f"the old {old}", f"the new {new}") if old == new else (old, new)


def comparison_text(found: Comparison) -> str:
    """Return a comparison for the terminal; its first word is the verdict."""
    pairs = next(iter(found.metrics.values())).n
    how = f"{pairs} interleaved pairs" if found.how == "interleaved" else f"{pairs} rounds against stored ones"
    old, new = names(found)
    lines = [f"{found.verdict}: {new} against {old}, {how} of fresh processes"]
    for name, judgement in found.metrics.items():
        before, after = (r.summary[f"{name}_ms"]["p50"] for r in (found.a, found.b))
        lines.append(f"{KINDS[f'{name}_ms']}: {before:.3f} → {after:.3f} ms, {change(judgement)}")
        if judgement.widened > 1:
            lines.append(
                f"neighbouring pairs correlate by {judgement.memory:+.2f}: "
                f"bounds {judgement.widened:.1f} times as wide as independent pairs would have"
            )
    lines += [f"limit broken: {words}" for words in found.breaches]
    lines += [f"limit not judged: {words}" for words in found.unknown]
    if found.tail is not None:
        advice = "; look at it" if found.tail.above_margin else ""
        before, after = found.tail.p99_ms
        lines.append(f"p99 {before:.3f} → {after:.3f} ms, x{found.tail.ratio:.2f} (advisory){advice}")
    if found.decisions is not None:
        lines.append(_decision_words(found.decisions))
    design = found.design
    lines.append(
        f"a change below {design.min_effect:.1%} does not matter, PASS proves less than {design.margin:.1%}; "
        f"{len(found.a.discarded) + len(found.b.discarded)} disturbed rounds repeated"
    )
    lines += list(found.notes)
    return "\n".join(lines)


def _decision_words(decisions: Mapping[str, Any]) -> str:
    before, after = decisions["accuracy"]
    counts = "".join(f"{name} {pair[0]} → {pair[1]}, " for name, pair in _counts(decisions))
    flipped = f"{decisions['flips']} decisions flipped"
    return f"accuracy {before:.4f} → {after:.4f} on {decisions['n']} images, {counts}{flipped}"


def _counts(decisions: Mapping[str, Any]) -> list[tuple[str, list[int]]]:
    return [(name, pair) for name, pair in decisions.items() if isinstance(pair, list) and name != "accuracy"]


def record_markdown(record: Record) -> str:
    """Return a record as Markdown."""
    bundle = record.bundle
    rows = [
        [title, *(number(record.summary[key][name]) for name in PERCENTILES), str(record.summary[key]["n"])]
        for key, title in KINDS.items()
        if key in record.summary
    ]
    lines = [
        f"### {_cell(bundle.name)}: {_cell(bundle.variant)}",
        "",
        *_table(["ms", *PERCENTILES, "n"], rows),
        "",
        *(f"- {_cell(line)}" for line in record_text(record).splitlines()[len(rows) + 2 :]),
        f"- {_cell(record.environment['cpu'])}, {record.environment['cores']} cores, {record.created}",
    ]
    return "\n".join(lines) + "\n"


def comparison_markdown(found: Comparison) -> str:
    """Return a comparison as Markdown, to be appended to a job summary or posted on a merge request."""
    sign = {"PASS": "✅", "IMPROVED": "✅", "REGRESSED": "❌", "INCONCLUSIVE": "⚠️"}[found.verdict]
    rows = []
    for name, judgement in found.metrics.items():
        before, after = (r.summary[f"{name}_ms"] for r in (found.a, found.b))
        title = KINDS[f"{name}_ms"]
        rows.append([f"{title}, p50 ms", number(before["p50"]), number(after["p50"]), change(judgement)])
        rows.append([f"{title}, p99 ms", number(before["p99"]), number(after["p99"]), "advisory"])
    for key, title in (("memory_mb", "memory, MB"), ("start_ms", "start to first decision, ms")):
        rows.append([title, *(number(r.summary[key], 0) for r in (found.a, found.b)), ""])
    if found.decisions is not None:
        d = found.decisions
        rows.append(["accuracy", *(f"{v:.4f}" for v in d["accuracy"]), f"{d['flips']} of {d['n']} flipped"])
        rows += [[name, *map(str, pair), ""] for name, pair in _counts(d)]
    lines = comparison_text(found).splitlines()[1 + len(found.metrics) :]
    return "\n".join(
        [
            f"### {sign} {found.verdict}: {_cell(names(found)[1])} against {_cell(names(found)[0])}",
            "",
            *_table(["", _cell(found.a.bundle.name), _cell(found.b.bundle.name), "change"], rows),
            "",
            *(f"- {_cell(line)}" for line in lines),
            "",
        ]
    )


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(row) + " |" for row in (header, ["---"] * len(header), *rows)]


def _cell(words: str) -> str:
    """Escape what Markdown would obey: names come from files."""
    return "".join("\\" + c if c in "\\`*_{}[]<>|#!" else c for c in words)
