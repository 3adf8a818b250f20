"""Results as text for people; every function takes what the command prints with `--json`."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

from edgetl import tasks
from edgetl_runtime.cli.lines import columns, wrapped

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def answer_lines(answer: Mapping[str, Any]) -> list[str]:
    """Return the report's answer, and what stands against shipping."""
    points = [f"  {point['level']}: {point['text']}" for point in answer["points"] if point["level"] != "note"]
    return [f"May I ship this? {answer['words']}", *points]


def run_text(result: Mapping[str, Any]) -> str:
    """Return the answer and a short table."""
    lines = [*answer_lines(result["answer"]), *result["statements"], ""]
    counts = tasks.get(result["task"]).counts
    titles = "".join(f"{count.key:>10}" for count in counts)
    lines += [f"{'':10}{'verdicts':>10}{'classes':>10}{titles}{'n':>7}"]
    for name, title in (("baseline_test", "baseline"), ("test", "kept"), ("val", "kept, val")):
        m = result[name]
        counted = "".join(f"{m[count.key]:>10}" for count in counts)
        lines.append(f"{title:10}{m['verdict_accuracy']:>10.4f}{m['accuracy']:>10.4f}{counted}{m['n']:>7}")
    total = result["seconds"]["total"]
    lines += ["", f"kept: {result['kept']} model of {result['backbone']}, {total:.0f} s; report: {result['report']}"]
    return "\n".join(lines)


def candidate_rows(
    candidates: Sequence[Mapping[str, Any]], *, task: str, chosen: str | None, width: int | None = None
) -> list[str]:
    """Return the rows that compare candidates, the header first; none is wider than the terminal.

    Args:
        candidates: As `deploy --json` prints them.
        task: Whose counts are shown.
        chosen: Id of the one that ships; None where none does.
        width: Columns; None takes those of the terminal.
    """
    width = width or columns()
    first = max([len("candidate"), *(len(c["id"]) for c in candidates)])
    keys = [count.key for count in tasks.get(task).counts]
    counts = "".join(f"{key:>{len(key) + 1}}" for key in keys)
    titles = f"{'accuracy':>9}{'drop pp':>8}{'flips':>6}{counts}{'p50 ms':>8}{'p99 ms':>8} verdict"
    lines = [f"{'candidate':{first}}{titles}"]
    for c in candidates:
        latency = c["latency_ms"] or {}
        p50, p99 = (f"{latency[k]:.2f}" if latency.get(k) is not None else "-" for k in ("p50", "p99"))
        counted = "".join(f"{c[key]:>{len(key) + 1}}" for key in keys)
        figures = f"{c['accuracy']:>9.4f}{c['drop_pp']:>8.2f}{c['flips']:>6}{counted}"
        row = f"{c['id']:{first}}{figures}{p50:>8}{p99:>8} "
        word = "chosen" if c["id"] == chosen else "kept" if c["accepted"] else "refused"
        more = [] if c["accepted"] else [c["why"]]
        if c["accepted"] and c.get("unproven"):
            more.append(f"UNPROVEN: {c['unproven']}")
        if c.get("close"):
            more.append(f"narrowly: on other images chance may give {c['close']}")
        whole = row + ", ".join([word, *more] if c["accepted"] else more or [word])
        if len(whole) <= width:
            lines.append(whole)
        else:  # what the verdict rests on stands below its row, whole
            lines += [row + word, *(line for words in more for line in wrapped(f"    {words}", width, indent=2))]
    return lines


def deploy_text(result: Mapping[str, Any]) -> str:
    """Return a table of the candidates and what shipped."""
    t = result["confirmed"]
    lines = [*answer_lines(result["answer"]), *t["statements"], ""]
    lines += candidate_rows(result["candidates"], task=result["task"], chosen=result["chosen"])
    lines += ["", f"validation n = {result['candidates'][0]['n']}"]
    lines += [note["text"] for note in result["notes"]]
    lines += [
        f"confirmed on test (n = {t['n']}): right verdicts {t['verdict_accuracy']:.4f}, "
        f"right classes {t['accuracy']:.4f} (float {t['float_accuracy']:.4f}), "
        f"{''.join(f'{count.key} {t[count.key]}, ' for count in tasks.get(result['task']).counts)}flips {t['flips']}",
        f"{result['bundle']}: {result['size_bytes'] / 1e6:.1f} MB for {result['target']}, proven in a fresh process",
    ]
    lines += delivery_lines(result) if "delivery" in result else []
    if not result.get("signed_by"):
        lines.append("unsigned: devices ask for a signature; edgetl keys new, then --key or edgetl keys sign")
    if result["unproven"]:
        lines.append(f"UNPROVEN: {'; '.join(result['unproven'])}; the device proves it when it installs, or refuses")
    return "\n".join(part for line in lines for part in wrapped(line, columns()) or [""])


def deploy_html(result: Mapping[str, Any]) -> str:
    """Return a deployment for a notebook: the answer, the candidates as a table, what must be known of the choice."""
    counts = [count.key for count in tasks.get(result["task"]).counts]
    titles = ("candidate", "accuracy", "drop pp", "flips", *counts, "p50 ms", "p99 ms", "verdict")
    rows = []
    for c in result["candidates"]:
        latency = c["latency_ms"] or {}
        times = [f"{latency[k]:.2f}" if latency.get(k) is not None else "\u2013" for k in ("p50", "p99")]
        word = "chosen" if c["id"] == result["chosen"] else "kept" if c["accepted"] else f"refused: {c['why']}"
        word += f"; UNPROVEN: {c['unproven']}" if c["accepted"] and c.get("unproven") else ""
        figures = [f"{c['accuracy']:.4f}", f"{c['drop_pp']:.2f}", *(str(c[key]) for key in ("flips", *counts))]
        rows.append("".join(f"<td>{html.escape(cell)}</td>" for cell in [c["id"], *figures, *times, word]))
    first, *points = answer_lines(result["answer"])
    said = [*points, *result["confirmed"]["statements"]]
    said += [note["text"] for note in result["notes"]] + [f"UNPROVEN: {clause}" for clause in result["unproven"]]
    return (
        f"<div><strong>{html.escape(first)}</strong>"
        f"<ul>{''.join(f'<li>{html.escape(line.strip())}</li>' for line in said)}</ul>"
        f"<table><tr>{''.join(f'<th>{title}</th>' for title in titles)}</tr>"
        f"{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"
        f"<p>{html.escape(str(result['bundle']))}: {result['size_bytes'] / 1e6:.1f} MB for "
        f"{html.escape(result['target'])}</p></div>"
    )


def delivery_lines(result: Mapping[str, Any]) -> list[str]:
    """Return what became of the bundle, as lines."""
    signed = ", ".join(key_id[:16] for key_id in result["signed_by"])
    lines = [f"signed by {signed}"] if signed else []
    if result["package"]:
        package = result["package"]
        lines.append(f"{package['folder']}: {package['size_bytes'] / 1e6:.0f} MB; on the device: sh install.sh")
    delivery = result["delivery"]
    if delivery:
        lines.append(f"{delivery['host']}: {delivery['result']}, {delivery['reason']}")
        latency = delivery.get("proof", {}).get("latency_ms") or {}
        if latency.get("p50") is not None:
            p99 = f", p99 {latency['p99']:.2f} ms" if latency.get("p99") is not None else ""
            lines.append(f"measured there: p50 {latency['p50']:.2f} ms{p99}, {delivery['proof']['memory_mb']:.0f} MB")
    return lines


def point_rows(result: Mapping[str, Any]) -> list[str]:
    """Return the rows that compare the points of a search, the header first; `*` marks the front."""
    width = max((len(p["id"]) for p in result["points"]), default=0) + 2
    counts = result["counts"]
    titles = f"{'accuracy':>9}{'gap pp':>8}{'flips':>7}{''.join(f'{c:>9}' for c in counts)}{'p50 ms':>8}{'p99 ms':>8}"
    lines = [f"  {'candidate':{width}}{titles}  verdict"]
    for p in result["points"]:
        p50, p99 = (f"{p[k]:.2f}" if p[k] is not None else "-" for k in ("p50_ms", "p99_ms"))
        verdict = "chosen" if p["chosen"] else "kept the contract" if p["accepted"] else p["why"]
        verdict += f", unproven: {'; '.join(p['unproven'])}" if p["accepted"] and p["unproven"] else ""
        counted = "".join(f"{p[key]:>9}" for key in counts)
        figures = f"{p['accuracy']:>9.4f}{p['gap_pp']:>8.2f}{p['flips']:>7}{counted}{p50:>8}{p99:>8}"
        lines.append(f"{'*' if p['on_front'] else ' '} {p['id']:{width}}{figures}  {verdict}")
    return lines


def choice_lines(result: Mapping[str, Any]) -> list[str]:
    """Return what was chosen, and what must be known of it."""
    return [f"chosen: {result['chosen']}, {result['why']}", *(note["text"] for note in result["notes"])]


def search_text(result: Mapping[str, Any]) -> str:
    """Return the points, what was rejected early, and the choice."""
    lines = point_rows(result)
    n = result["points"][0]["n"] if result["points"] else 0
    lines += ["", f"* on the front of accuracy (validation, n = {n}) against p50"]
    lines += [f"not fine-tuned: {n['name']}, {n['why']}" for n in result["networks"] if n["why"]]
    lines += choice_lines(result)
    lines += [f"report: {result['report']}"]
    lines += [f"ship it; deploy looks at test once: {result['deploy']}"] if result["deploy"] else []
    lines += [f"UNPROVEN: {'; '.join(result['unproven'])}"] if result["unproven"] else []
    return "\n".join(lines)
