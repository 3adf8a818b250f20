"""Fixtures of the pytest plugin: `latency`, `compare` and `baseline`, with JUnit properties."""

from __future__ import annotations

import dataclasses
import shutil
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl_runtime.bench import conditions, measuring, rounds, text
from edgetl_runtime.bench.limits import Limits
from edgetl_runtime.bench.record import Record, read_record, write_record
from edgetl_runtime.errors import UnfitError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pytest

    from edgetl_runtime.bench.measuring import Comparison

DESIGN = {"margin_pct": "margin", "min_effect_pct": "min_effect"}
LIMITS = tuple(field.name for field in dataclasses.fields(Limits))
SETTINGS = tuple(field.name for field in dataclasses.fields(rounds.Settings))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Latency:
    """What one bundle takes; figures that n is too small for raise instead of passing by accident.

    Attributes:
        record: With every sample and the conditions.
    """

    record: Record

    def __repr__(self) -> str:
        return f"<{_line(self.record)}>"  # what pytest shows of a failed assert; the record has every sample

    @property
    def p50_ms(self) -> float:
        """Median over rounds, image to decision."""
        return self.percentile_ms("p50")

    @property
    def p90_ms(self) -> float:
        """90th percentile, image to decision."""
        return self.percentile_ms("p90")

    @property
    def p99_ms(self) -> float:
        """99th percentile, image to decision."""
        return self.percentile_ms("p99")

    @property
    def network_p50_ms(self) -> float:
        """Median of the network alone."""
        return self.percentile_ms("p50", "network")

    @property
    def start_ms(self) -> float:
        """Process start to first decision."""
        return self._known("start_ms")

    @property
    def memory_mb(self) -> float:
        """Largest resident memory."""
        return self._known("memory_mb")

    @property
    def late(self) -> int:
        """Decisions after their deadline, in the open loop (`rate_hz=`)."""
        return int(self._known("late"))

    @property
    def accuracy(self) -> float:
        """Share of labelled images (`data=`) with the right class."""
        if self.record.accuracy is None:
            raise UsageError("accuracy", "measured on labelled images", "no labels", fix="data=DIR, a folder per class")
        return float(self.record.accuracy["accuracy"])

    def percentile_ms(self, name: str, kind: str = "decision") -> float:
        """Return one of p50, p90, p95, p99, p99.9 and max of `decision`, `network` or `inside`.

        Raises:
            UnfitError: There are too few samples to speak of it.
        """
        latency = self.record.summary[f"{kind}_ms"]
        if latency[name] is None:
            got, fix = f"{latency['n']} samples", "more --edgetl-rounds, or longer ones"
            raise UnfitError(f"{name} of {kind}", "of enough samples", got, fix=fix)
        return float(latency[name])

    def _known(self, name: str) -> float:
        value = self.record.summary[name]
        if value is None:
            raise UnfitError(name, "measured", "nothing", fix="rate_hz= for late decisions")
        return float(value)


class Fixtures:
    """The plugin object that holds the fixtures, and what they measured in this session.

    Args:
        config: Of pytest.

    Attributes:
        lines: One per measurement, for the terminal.
    """

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.lines: list[str] = []
        self._records: dict[tuple[Any, ...], Record] = {}

    def as_module(self) -> types.ModuleType:
        """Return a plugin with the fixtures; made here rather than by decorators, because a station has no pytest."""
        import pytest

        module = types.ModuleType("edgetl_fixtures")
        for function in (self.latency, self.compare, self.baseline):
            setattr(module, function.__name__, pytest.fixture(name=function.__name__)(function))
        return module

    def measure(self, bundle: str | Path, **options: Any) -> Record:  # noqa: ANN401  (settings)
        """Measure a bundle once a session for equal options.

        Args:
            bundle: Path.
            options: `data`, `variant`, `backend`, `rounds`, and the fields of `rounds.Settings`.
        """
        target, data, settings = self._target(bundle, options)
        count = int(options.pop("rounds", self.config.getoption("--edgetl-rounds")))
        _refuse_unknown(options)
        key = (target.facts.file_sha256, target.facts.variant, target.slower_pct, str(data), count, settings)
        if key not in self._records:
            self._records[key] = measuring.bench(target, data=data, rounds=count, settings=settings)
            self.lines.append(_line(self._records[key]))
        return self._records[key]

    def compared(self, old: str | Path, new: str | Path, **options: Any) -> Comparison:  # noqa: ANN401  (settings)
        """Compare two bundles now, interleaved.

        Args:
            old: The trusted one.
            new: The one that wants to replace it.
            options: As of `measure`, and `margin_pct`, `min_effect_pct`, `gate`, `looks` and the fields of `Limits`.
        """
        given = {ours: options.pop(name) / 100 for name, ours in DESIGN.items() if name in options}
        if "looks" in options:
            given["looks"] = tuple(options.pop("looks"))
        design = dataclasses.replace(measuring.default_design(), **given)
        bounds = Limits(**{name: options.pop(name) for name in LIMITS if name in options})
        gate = tuple(options.pop("gate", ("decision",)))
        variant, backend = options.get("variant"), options.get("backend")
        b, data, settings = self._target(new, options)
        _refuse_unknown(options)
        a = rounds.target(Path(old), variant=variant, backend=backend)
        found = measuring.compare(a, b, data=data, design=design, gate=gate, settings=settings, bounds=bounds)
        self.lines.append(text.comparison_text(found).partition("\n")[0])
        return found

    def _target(
        self, bundle: str | Path, options: dict[str, Any]
    ) -> tuple[rounds.Target, Path | None, rounds.Settings]:
        data = options.pop("data", None)
        target = rounds.target(
            Path(bundle),
            variant=options.pop("variant", None),
            backend=options.pop("backend", None),
            slower_pct=options.pop("slower_pct", 0.0),
        )
        defaults = {
            "allow_disturbed": self.config.getoption("--edgetl-allow-disturbed"),
            "seconds": self.config.getoption("--edgetl-seconds"),
        }
        given = {name: options.pop(name) for name in SETTINGS if name in options}
        return target, None if data is None else Path(data), rounds.Settings(**{**defaults, **given})

    def latency(self, request: pytest.FixtureRequest) -> Iterator[Callable[..., Latency]]:
        """Return a function that measures a bundle and gives its `Latency`; options as of `measure`."""

        def latency(bundle: str | Path, **options: Any) -> Latency:  # noqa: ANN401
            record = self.measure(bundle, **options)
            _note(request, record)
            return Latency(record=record)

        yield latency

    def compare(self, request: pytest.FixtureRequest) -> Iterator[Callable[..., Comparison]]:
        """Return a function of an old and a new bundle that fails unless the verdict is PASS or IMPROVED."""

        def compare(old: str | Path, new: str | Path, **options: Any) -> Comparison:  # noqa: ANN401
            found = self.compared(old, new, **options)
            _judge(request, found)
            return found

        yield compare

    def baseline(self, request: pytest.FixtureRequest) -> Iterator[Callable[..., Comparison | Record]]:
        """Return a function that compares a bundle with what --edgetl-baseline holds of it, or stores it there."""
        import pytest

        folder: Path | None = self.config.getoption("--edgetl-baseline")

        def baseline(bundle: str | Path, *, name: str | None = None, **options: Any) -> Comparison | Record:  # noqa: ANN401
            if folder is None:
                pytest.skip("edgetl: no --edgetl-baseline DIR was given")
            kept = folder / (name or Path(bundle).stem)
            record_file, old = kept.with_name(kept.name + ".bench.json.gz"), kept.with_name(kept.name + ".edgetl")
            if self.config.getoption("--edgetl-update-baseline"):
                record = self.measure(bundle, **options)
                folder.mkdir(parents=True, exist_ok=True)
                write_record(record_file, record)
                shutil.copyfile(bundle, old)  # so that it can be run again where the record does not hold
                _note(request, record)
                return record
            if not record_file.exists():
                pytest.fail(f"edgetl: no baseline {record_file}; make it with --edgetl-update-baseline", pytrace=False)
            found = self._against(read_record(record_file), old, bundle, options)
            _judge(request, found)
            return found

        yield baseline

    def _against(self, stored: Record, old: Path, bundle: str | Path, options: dict[str, Any]) -> Comparison:
        """Compare with the record if it is of this machine as it is now; else run the old bundle again, interleaved."""
        apart = conditions.differences(stored.environment, conditions.environment())
        if apart or stored.verdict != "measured":
            reason = "; ".join(apart) or "its rounds were disturbed"
            self.lines.append(f"{old.name} is run again, its record does not hold here: {reason:.160}")
            return self.compared(old, bundle, **options)
        count = int(options.pop("rounds", self.config.getoption("--edgetl-rounds")))
        target, data, settings = self._target(bundle, options)
        _refuse_unknown(options)
        found = measuring.compare_with_record(stored, target, data=data, rounds=count, settings=settings)
        self.lines.append(text.comparison_text(found).partition("\n")[0])
        return found


def _refuse_unknown(options: dict[str, Any]) -> None:
    for name in options:
        must = "one of data, variant, backend, rounds, " + ", ".join(SETTINGS)
        raise UsageError(f"option {name}", must, "another", fix="check the spelling")


def _line(record: Record) -> str:
    latency = record.summary["decision_ms"]
    figures = ", ".join(f"{name} {text.number(latency[name])}" for name in ("p50", "p99"))
    mark = " DISTURBED" if record.verdict == "disturbed" else ""
    words = f"{record.bundle.name} {record.bundle.variant}: {figures} ms, n {latency['n']}"
    return f"{words}, {text.resolution(record.protocol['floor'])}{mark}"


def _note(request: pytest.FixtureRequest, record: Record, name: str | None = None) -> None:
    """Attach the figures to the test, below the bundle's name or `name`: JUnit files show them as properties."""
    latency = record.summary["decision_ms"]
    figures = {f"{name}_ms": latency[name] for name in ("p50", "p90", "p99", "max")}
    figures |= {name: record.summary[name] for name in ("start_ms", "memory_mb", "rounds")}
    figures |= {"verdict": record.verdict, "machine": record.environment["fingerprint"][:16]}
    properties = [(f"edgetl.{name or record.bundle.name}.{k}", v) for k, v in figures.items() if v is not None]
    request.node.user_properties += properties


def _judge(request: pytest.FixtureRequest, found: Comparison) -> None:
    import pytest

    request.node.user_properties += [("edgetl.verdict", found.verdict), ("edgetl.how", found.how)]
    for name, judgement in found.metrics.items():
        request.node.user_properties.append((f"edgetl.{name}.change", judgement.estimate))
    _note(request, found.a, text.names(found)[0])  # the new one keeps its plain name, as where it alone is measured
    _note(request, found.b)
    if found.exit_code:  # INCONCLUSIVE too: it is not known that nothing is slower
        pytest.fail(text.comparison_text(found), pytrace=False)
