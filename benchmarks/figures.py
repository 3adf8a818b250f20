"""Write docs/figures.md from the records under `results/`: `python benchmarks/figures.py`.

Nothing on that page is typed by hand but the remarks of `remarks.toml`, and what missed its goal stands beside what met
it. The README's table against peers is made here too; a test compares both with what this script makes.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

BENCHMARKS = Path(__file__).parent
RESULTS = BENCHMARKS / "results"
PAGE = BENCHMARKS.parent / "docs" / "figures.md"
HEAD = """\
# Figures

Written by `python benchmarks/figures.py` from the records in [benchmarks/results](../benchmarks/results); a test
compares the two, so edit neither this page nor a record by hand. What is measured, and how, is in
[benchmarks/README.md](../benchmarks/README.md). Machines and records stand newest first; a goal that was not reached is
called **missed**.

*Measured* gives the date, the load of the machine when the measurement began (two cores are busy at 2.0, so times taken
above that are upper bounds), and the commit; a `+` marks a working tree with changes of its own. A *flip* is an image
on which label or verdict differs from the float model's; an *escape* is a defective part that passes, *overkill* a good
one that is rejected. Changes of accuracy are in percentage points (pp); a positive drop is a loss.
"""
Record = dict[str, Any]


def table(header: str, rows: Iterable[Iterable[object]]) -> str:
    titles = [title.strip() for title in header.split("|")]
    lines = [titles, ["---"] * len(titles), *[[str(cell) for cell in row] for row in rows]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def conditions(record: object) -> Iterator[Record]:
    """Yield every block of conditions in a record, wherever it stands."""
    if isinstance(record, dict):
        if "commit" in record and "date" in record:
            yield record
        for value in record.values():
            yield from conditions(value)
    elif isinstance(record, list):
        for value in record:
            yield from conditions(value)


def newest(record: object) -> str:
    return max((found["date"] for found in conditions(record)), default="")


def measured(record: Record) -> str:
    found = next(conditions(record), None)
    if found is None:
        return "conditions not recorded"
    return f"{found['date'][:10]}, load {found['load']:.1f}, {found['commit'][:7]}{'' if found['clean'] else '+'}"


def met(value: float, goal: float, *, least: bool = False) -> str:
    """Return a goal and whether it was met; `least` where more is better."""
    return f"{goal:g}" if (value >= goal if least else value <= goal) else f"{goal:g}: **missed**"


def by_age(records: dict[str, Any]) -> list[tuple[str, Any]]:
    return sorted(records.items(), key=lambda item: (newest(item[1]), item[0]), reverse=True)


def with_error(share: float, n: int) -> str:
    """Return a share of n images with its standard error, or with its bound where nothing was wrong."""
    if share == 1:
        return f"1.000 of {n} (at least {0.05 ** (1 / n):.3f}, 95 % sure)"
    return f"{share:.3f} ± {100 * math.sqrt(share * (1 - share) / n):.1f} pp of {n}"


def accuracy(records: dict[str, Record]) -> str:
    """Return one row a run; the goals are of the mean over a suite's seeds."""
    rows = []
    for name, record in by_age(records):
        goals = ", ".join(
            f"{key.removeprefix('test_').replace('_', ' ')} {found['mean']:.{0 if key == 'seconds' else 3}f}, goal "
            + (f"{found['goal']}" if found["met"] else f"{found['goal']}: **missed**")
            for key, found in record["summary"].items()
        )
        for place, run in enumerate(record["runs"]):
            test, base = run["test"], run["baseline_test"]
            rows.append([
                f"{name} `{' '.join(record['options'])}`" if place == 0 else f"{name}, again",
                run["seed"],
                with_error(test["accuracy"], test["n"]),
                f"{test['balanced_accuracy']:.3f}, {test['auroc']:.3f}",
                f"{test['escapes']}, {test['overkill']}",
                f"{base['accuracy']:.3f}",
                f"{run['seconds']['total']:,.0f} s",
                goals if place == 0 else "",
                measured(run),
            ])  # fmt: skip
    return (
        "On test images, which neither training nor choosing has seen. ± is the standard error of one run.\n\n"
        + table(
            "suite, options|seed|accuracy by class|balanced, AUROC|escapes, overkill|frozen baseline|whole run|"
            "mean over seeds|measured",
            rows,
        )
    )


PARTS = {
    "ladder-openvino": "ladder, OpenVINO",
    "ladder-openvino-without-vnni": "ladder, OpenVINO, VNNI switched off",
    "ladder-onnxruntime": "ladder, ONNX Runtime",
    "ladder-tensorrt": "ladder, TensorRT's symmetric graph, judged by ONNX Runtime",
    "nncf-default": "NNCF's defaults",
    "nncf-accuracy-control": "NNCF's accuracy control",
    "onnxruntime-static-default": "ONNX Runtime's static defaults",
    "per-channel": "weights per channel alone",
}


def chosen_step(part: Record) -> Record:
    """Return the rung that was taken; the last one climbed may be another."""
    val, rung = part["val"], part.get("rung")
    steps = [step for step in part.get("steps", []) if step["rung"] == rung and step["flips"] == val["flips"]]
    return next((step for step in steps if math.isclose(step["drop_pp"], val["drop_pp"], abs_tol=1e-9)), {})


def evaluations(part: Record) -> str:
    passes = part.get("evaluations_in_whole_passes")
    return str(part.get("evaluations", "")) + (f" ({passes:.0f} passes over validation)" if passes else "")


def quantization(records: dict[str, Record]) -> str:
    texts = [
        "INT8 against the float model. Everything is chosen on validation; test is looked at once for each row. The "
        "limits are those of the record's contract, and one image more is never a breach of the drop: it is the "
        "resolution of the split. Times are of one thread, one variant after the other, in ms.\n"
    ]
    for name, record in by_age(records):
        limits = record["contract"]
        rows = []
        for part, found in sorted(record["parts"].items(), key=lambda item: [*PARTS].index(item[0])):
            val, test = found["val"], found["test"]
            flips_ok = test["flips_pct"] <= limits["max_flips_pct"]
            drop_ok = test["drop_pp"] <= max(limits["max_drop_pp"], 100 / test["n"] + 1e-9)
            of_classes = test.get("flips_of_the_class_alone")
            kept = chosen_step(found).get("kept_float")
            keys = ("infer_ms_every_layer_int8", "infer_ms", "infer_ms_float")
            times = [found.get(key, {}).get("p50") for key in keys]
            rows.append([
                PARTS[part],
                f"{test['flips']} of {test['n']} ({test['flips_pct']:.2f} %)" + ("" if flips_ok else ": **missed**"),
                "" if of_classes is None else of_classes,
                f"{test['drop_pp']:.2f}" + ("" if drop_ok else ": **missed**"),
                test["escapes"],
                f"{val['flips']}, {val['drop_pp']:.2f}" + (": refused" if val["why"] else ""),
                "" if kept is None else len(kept),
                evaluations(found),
                " / ".join("-" if one is None else f"{one:.1f}" for one in times) if any(times) else "",
                measured(found),
            ])  # fmt: skip
        note = f" ({record['note']})" if record.get("note") else ""
        texts.append(
            f"**{name.removeprefix('quantization-')}**{note}; limits: flips {limits['max_flips_pct']} %, drop "
            f"{limits['max_drop_pp']} pp\n\n"
            + table(
                "how|flips on test|of them classes|drop, pp|escapes|on validation: flips, drop|layers in float|"
                "evaluations|p50: all INT8 / this / float|measured",
                rows,
            )
        )
    return "\n".join(texts)


def nvidia_accuracy(records: dict[str, Record]) -> str:
    rows = []
    for record in records.values():
        for run, found in by_age(record["runs"]):
            for one in found["recipes"]:
                missed = "" if one["drop_pp"] <= record["goal_pp"] else f" (goal {record['goal_pp']}: **missed**)"
                rows.append([
                    f"{run}, {found['backbone']}", one["recipe"],
                    f"{one['accuracy']:.3f} ({found['float_accuracy']:.3f})",
                    f"{one['drop_pp']:.2f}{missed}", f"{one['flips']} of {found['n']}", measured(found),
                ])  # fmt: skip
    return (
        "First rung of each recipe, without a ladder, computed by ONNX Runtime on test images and compiled by TensorRT "
        "for RTX; **accuracy and latency on a GPU are not measured on hardware**.\n\n"
        + table("run|recipe|accuracy (float)|drop, pp|flips|measured", rows)
    )


def nvidia(records: dict[str, Record]) -> str:
    texts = []
    for record in records.values():
        accepted = {name: [one["accepted"] for one in found["recipes"]] for name, found in record["backbones"].items()}
        names = ", ".join(sorted(accepted))
        texts.append(
            f"{sum(map(all, accepted.values()))} of {len(accepted)} backbones compile in float32, float16 and INT8 "
            f"with TensorRT for RTX for SM86, which stands in for Orin's SM87: {names}. {record['note'][0].upper()}"
            f"{record['note'][1:]}. Measured: {measured(record)}.\n"
        )
    return "\n".join(texts)


def peers(records: dict[str, Record]) -> str:
    texts = []
    for record in records.values():
        goals = {
            **record["goals"],
            "model-api": record["goals"]["packaged"],
            "ultralytics": record["goals"]["packaged"],
        }
        times, outside = record["times"], record["outside_the_network"]
        rows = [
            [
                name,
                f"{found['p50_ms']:.1f}",
                f"{found['p99_ms']:.1f}",
                f"{times[name]:.1f} (goal {met(times[name], goals.get(name, goals['others']), least=True)})"
                if name in times
                else "",
                "" if found["agrees"] is None else f"{100 * found['agrees']:.1f} %",
                found["network"],
            ]
            for name, found in sorted(record["peers"].items(), key=lambda item: item[1]["p50_ms"])
        ]
        texts.append(
            f"{record['image']}, to a class; all tools take turns. Measured: {measured(record)}.\n\n"
            + table(f"tool|p50, ms|p99, ms|times slower than {record['fastest']}|same class|network", rows)
            + f"\nOutside the network: {outside['outside_ms']:.1f} of {outside['p50_ms']:.1f} ms at p50, "
            f"{100 * outside['share']:.0f} % (goal {met(outside['share'], goals['outside_share'])}).\n"
        )
    return "\n".join(texts)


def runtime(records: dict[str, Record]) -> str:
    texts = []
    for record in records.values():
        goals, decision = record["goals"], record["decision"]
        rows = []
        for name, start in record["starts"].items():
            own = goals.get(name, {})
            times = record["decision"]["times_faster_than_eager"].get(name)
            rows.append([
                name.replace("_", " "),
                f"{start['start_s']:.2f}" + (f" (goal {met(start['start_s'], own['start_s'])})" if own else ""),
                f"{start['memory_mb']:.0f}" + (f" (goal {met(start['memory_mb'], own['memory_mb'])})" if own else ""),
                f"{decision[name]['p50_ms']:.1f} / {decision[name]['p99_ms']:.1f}",
                f"{(m := statistics.median(times)):.1f} (goal {met(m, goals['times_faster_than_eager'], least=True)})"
                if times
                else "1",
            ])  # fmt: skip
        texts.append(
            f"Lite0 INT8 at 192 px against torch, timm, PIL and torchvision on the same {decision['image']}; times "
            f"faster: median of interleaved rounds. Measured: {measured(record)}.\n\n"
            + table("|start to first decision, s|peak memory, MB|p50 / p99, ms|times faster than eager torch", rows)
        )
    return "\n".join(texts)


def faithful(records: dict[str, Record]) -> str:
    texts = []
    for record in records.values():
        goal = 100 * record["goals"]["within"]
        rows = [
            [key.replace("_", " "), f"{100 * found:+.1f} %", met(abs(100 * found), goal)]
            for key, found in record["apart"].items()
        ]
        rows.append(["a session adds to a raw call", f"{record['wrapper_us']:.0f} µs",
                     met(record["wrapper_us"], record["goals"]["wrapper_us"])])  # fmt: skip
        texts.append(
            f"The network's latency as edgetl measures it, beside other tools ({record['variant']}, "
            f"{record['threads']} threads). Measured: {measured(record)}.\n\n" + table("beside|found|goal", rows)
        )
    return "\n".join(texts)


def station(records: dict[str, Record]) -> str:
    texts = []
    for record in records.values():
        goals = record["goals"]
        rows = [
            [f"two models at once against the sum of both alone, {name}",
             f"{found:.2f} (each slowed {record['slowed_by_neighbour'][name]:.1f} times)",
             met(found, goals["interference"])]
            for name, found in record["interference"].items()
        ]  # fmt: skip
        rows += [
            [f"p99 / p50 of the network, {name}", f"best {found['best']:.2f}, median {found['median']:.2f}",
             met(found["best"], goals["tail"])]
            for name, found in record["tail"].items()
        ]  # fmt: skip
        rows += [
            [f"start to first decision, {name.replace('_', ' ')}",
             f"{found:.2f} s (best {record['best_start_s'][name]:.2f})", met(found, goals["start_s"][name])]
            for name, found in record["start_s"].items()
        ]  # fmt: skip
        texts.append(f"Measured: {measured(record)}.\n\n" + table("what|found|goal", rows))
    return "\n".join(texts)


def error_rates(records: dict[str, Record]) -> str:
    rows = []
    for record in records.values():
        for cell in record["cells"]:
            verdicts = ", ".join(f"{name} {count}" for name, count in cell["verdicts"].items())
            goal = record["goals"]["found"].get(f"{cell['slower']:g}") if cell["slower"] else None
            wanted = f"at most {record['goals']['false_alarms_of_500']} REGRESSED" if not cell["slower"] else ""
            wanted = f"{100 * goal:.0f} % found" if goal and cell["station"] != "remembering" else wanted
            rows.append([
                cell["station"], f"{100 * cell['slower']:+.0f} %", verdicts, f"{cell['mean_pairs']:.0f}",
                wanted + ("" if cell["met"] else ": **missed**"), measured(record),
            ])  # fmt: skip
    return (
        "`edgetl compare` on a programmable clock instead of a machine: quiet, noisy, and one whose differences last "
        "for several pairs. Nothing here is a latency.\n\n"
        + table("clock|new bundle slower by|verdicts|pairs, mean|goal|measured", rows)
    )


def regression_gate(records: dict[str, Record]) -> str:
    texts = []
    for record in records.values():
        seconds = [one["seconds"] for one in record["comparisons"]]
        same, slowed = (", ".join(f"{k} {n}" for k, n in record[key].items()) for key in ("same", "slowed"))
        texts.append(
            f"Real bundles compared with themselves: {same}. With a copy slowed by {record['slowed_pct']:.0f} %: "
            f"{slowed}. A comparison took {min(seconds):.0f} to {max(seconds):.0f} s. Goals: "
            f"{'met' if all(record['met'].values()) else '**missed**'}. Measured: {measured(record)}.\n"
        )
    return "\n".join(texts)


def checkouts(records: dict[str, Record]) -> str:
    rows = []
    for _, record in by_age(records):
        for what in ("decision", "network"):
            found = record[what]
            low, high = found["interval"]
            rows.append([
                f"{record['before'][:7]} → {record['after'][:7]}", what,
                f"{found['p50_ms'][0]:.2f} → {found['p50_ms'][1]:.2f}",
                f"{found['ratio']:.3f} ({low:.3f} to {high:.3f})",
                met(high, record["goal"]), measured(record),
            ])  # fmt: skip
    return "What a change of the runtime's code costs, in paired turns of two live processes.\n\n" + table(
        "commits|what|p50, ms|ratio and its bounds|goal|measured", rows
    )


def choice(records: dict[str, Record]) -> str:
    rows = [
        [run, found["backbone"], found["chosen"], found["fastest"],
         "yes" if found["right"] else f"**no**: {found['chosen_over_fastest']:.2f} times slower",
         ", ".join(f"{name} {ms:.1f}" for name, ms in found["p50_ms"].items()),
         "; ".join(f"{name}: {why}" for name, why in found["refused"].items()), measured(record)]
        for record in records.values()
        for run, found in record["runs"].items()
    ]  # fmt: skip
    question = (
        "Every candidate deployed and timed again alone: did `deploy` choose the fastest that keeps the contract?"
    )
    return f"{question}\n\n" + table("run|backbone|chosen|fastest|right|p50, ms|refused|measured", rows)


def contracts(records: dict[str, Record]) -> str:
    texts = []
    for record in records.values():
        found = record["summary"]
        runs = {one["run"] for one in record["contracts"]}
        broken = [found[f"shipped_and_broken_on_{split}"] for split in ("validation", "test")]
        texts.append(
            f"{found['contracts']} random contracts over {len(runs)} runs: {found['shipped']} shipped, "
            f"{found['refused_on_validation']} refused on validation, {found['refused_on_test']} on test. Decided "
            f"again from the raw files by the runtime alone: {broken[0]} shipped bundles break their contract on "
            f"validation, {broken[1]} on test; "
            f"{found['refused_but_written']} refused ones were written. Measured: {measured(record)}.\n"
        )
    return "\n".join(texts)


def faults(records: dict[str, Record]) -> str:
    rows = []
    for record in records.values():
        for name, part in by_age(record["parts"]):
            found = part["found"]
            changes = [one for one in found.values() if isinstance(one, dict)]
            keys = [key for key in (changes[0] if changes else {}) if key != "violations"]
            sums = {key: sum(one[key] for one in changes) for key in keys}
            shown = {**sums, "changes": len(changes)} if changes else found
            counts = {key: len(n) if isinstance(n, list) else n for key, n in shown.items()}
            words = ", ".join(f"{key.replace('_', ' ')} {n:,}" for key, n in counts.items())
            rows.append([name.replace("_", " "), words, measured(part)])
    return (
        "Installing, committing, rolling back, collecting garbage, rotating keys: killed before system calls (strace, "
        "strace term), signals between steps, every state a power cut can leave, cut recoveries, flipped bits and "
        "truncations of a bundle, removed or misplaced syncs (mutants), fuzzing of the reader. Broken promises count "
        "as broken, violations, accepted or faults.\n\n" + table("what|found|measured", rows)
    )


def hot_swap(records: dict[str, Record]) -> str:
    return "\n".join(
        f"{record['swaps']} swaps under load ({record['variant']}, a network of almost no size): {record['failed']} of "
        f"{record['requests']:,} requests failed; p50 {record['p50_ms']:.2f} ms, during swaps "
        f"{record['p50_during_ms']:.2f}; the slowest took {record['max_ms']:.0f} ms. Measured: {measured(record)}.\n"
        for record in records.values()
    )


def aarch64(records: dict[str, Record]) -> str:
    texts, same = [], {True: "equal", False: "**differ**"}
    for record in records.values():
        rows = [
            [
                name,
                f"{found['max_abs']:.0e}",
                f"{found['tolerance']:g}",
                same[found["tensors_equal"]],
            ]
            for name, found in record["real bundle"]["variants"].items()
        ]
        texts.append(
            f"A real bundle in a 64-bit Arm userland: {record['note']}. A signed bundle was delivered over SSH, "
            f"installed and committed. Measured: {measured(record)}.\n\n"
            + table("variant|largest difference of an output|allowed|tensors after preprocessing", rows)
        )
    return "\n".join(texts)


KINDS: dict[str, tuple[str, Callable[[dict[str, Record]], str]]] = {
    "edgetl.bench.accuracy": ("Accuracy after fine-tuning", accuracy),
    "edgetl.bench.quantization": ("INT8", quantization),
    "edgetl.bench.nvidia-accuracy": ("INT8 and float16 for NVIDIA", nvidia_accuracy),
    "edgetl.bench.nvidia": ("Backbones that NVIDIA's compiler accepts", nvidia),
    "edgetl.bench.peers": ("Against other tools", peers),
    "edgetl.bench.runtime": ("Against eager torch", runtime),
    "edgetl.bench.faithful": ("Are the latencies true?", faithful),
    "edgetl.bench.station": ("Two models, tails and starts", station),
    "edgetl.bench.error_rates": ("Wrong verdicts of compare", error_rates),
    "edgetl.bench.regression_gate": ("The regression gate on a real machine", regression_gate),
    "edgetl.bench.checkouts": ("What changes of the code cost", checkouts),
    "edgetl.bench.choice": ("Is the chosen candidate the fastest?", choice),
    "edgetl.bench.contracts": ("Do shipped bundles keep their contract?", contracts),
    "edgetl.faults": ("Faults while installing", faults),
    "edgetl.hot_swap": ("Changing the model under load", hot_swap),
    "edgetl.aarch64": ("Emulated 64-bit Arm", aarch64),
}


def records_of(machine: Path) -> dict[str, Record]:
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(machine.glob("*.json"))}


def machine_text(records: dict[str, Record]) -> str:
    found = [*conditions(records)]
    cells = {
        key: ", ".join(sorted({str(one[key]) for one in found})) for key in ("cpu", "cores", "memory_mb", "kernel")
    }
    flags = ", ".join(sorted({flag for one in found for flag in one["cpu_flags"]}))
    return (
        f"{cells['cpu']}, {cells['cores']} cores, {cells['memory_mb']} MB, Linux {cells['kernel']}; of the instruction "
        f"sets that matter: {flags}. A virtual machine that shares its host.\n"
    )


def page(results: Path, remarks: dict[str, str]) -> str:
    """Return docs/figures.md; every record must be of a known kind and every remark of an existing record."""
    machines = {folder.name: records_of(folder) for folder in sorted(results.iterdir()) if folder.is_dir()}
    texts = [HEAD]
    left = dict(remarks)
    for machine, records in by_age(machines):
        texts += [f"## {machine}\n", machine_text(records)]
        kinds: dict[str, dict[str, Record]] = {}
        for name, record in records.items():
            kinds.setdefault(record["schema"].partition("/")[0], {})[name] = record
        for kind, of_kind in by_age(kinds):
            title, write = KINDS[kind]
            texts += [f"### {title}\n", write(of_kind)]
            texts += [left.pop(name) + "\n" for name, _ in by_age(of_kind) if name in left]
    if left:
        message = f"remarks.toml has remarks on records that do not exist: {', '.join(left)}"
        raise KeyError(message)
    return "\n".join(texts)


def newest_of(records: list[Record], schema: str) -> Record:
    return max((one for one in records if one["schema"].startswith(schema)), key=newest)


def readme_table(results: Path) -> str:
    """Return the README's six figures against peers, from the newest records of each kind."""
    every = [
        record for folder in sorted(results.iterdir()) if folder.is_dir() for record in records_of(folder).values()
    ]
    beside, started = (newest_of(every, f"edgetl.bench.{kind}/") for kind in ("peers", "runtime"))
    names = {
        "cv2-onnxruntime": "OpenCV + ONNX Runtime",
        "model-api": "OpenVINO Model API",
        "ultralytics": "Ultralytics (yolo11n-cls)",
        "torch-compile": "torch.compile",
        "torch-eager": "eager torch",
    }
    own = beside["peers"][beside["fastest"]]["p50_ms"]
    rows = [
        [label, f"{own:.1f} ms", f"{beside['peers'][peer]['p50_ms']:.1f} ms",
         f"{beside['times'][peer]:.1f} times"]
        for peer, label in names.items()
    ]  # fmt: skip
    memory = {name: found["memory_mb"] for name, found in started["starts"].items()}
    rows.append([
        "eager torch: memory", f"{memory['openvino']:.0f} MB", f"{memory['eager_torch']:.0f} MB",
        f"{memory['eager_torch'] / memory['openvino']:.1f} times",
    ])  # fmt: skip
    return table("1280x960 JPEG to class|edgetl|the other|better by", rows)


def main() -> int:
    argparse.ArgumentParser(description=__doc__).parse_args()
    remarks = tomllib.loads((BENCHMARKS / "remarks.toml").read_text(encoding="utf-8"))
    PAGE.write_text(page(RESULTS, remarks), encoding="utf-8")
    print(readme_table(RESULTS))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
