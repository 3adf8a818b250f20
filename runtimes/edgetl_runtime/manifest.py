"""What a bundle says about itself: `manifest.json` as frozen dataclasses, read strictly."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import TYPE_CHECKING, Any, Literal

from edgetl_runtime import tasks
from edgetl_runtime.contract import Contract
from edgetl_runtime.errors import BundleError, EdgetlError, OutdatedError, UsageError
from edgetl_runtime.preprocess import PreprocessSpec
from edgetl_runtime.schema import from_json, from_mapping, nearest, to_mapping
from edgetl_runtime.tasks.base import OutputSpec
from edgetl_runtime.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMA_VERSION = 2
OLDEST_SCHEMA_VERSION = 2
MANIFEST_NAME = "manifest.json"
SIGNATURE_NAME = "signature.json"
UNSIGNED = b'{"signatures": []}\n'

_VERSION_DIGITS = 9
_NUMBER = rf"[0-9]{{1,{_VERSION_DIGITS}}}"
_VERSION = re.compile(rf"{_NUMBER}(\.{_NUMBER}){{0,7}}(([a-z+-]|\.[a-z])[a-z0-9.+-]{{0,40}})?")
# what a terminal obeys, what breaks a line, and what turns the direction of writing
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

Precision = Literal["f32", "bf16", "f16", "int8"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class VariantOptions:
    """How a backend runs a variant.

    Attributes:
        threads: Threads of one inference; None leaves it to the backend.
        hint: What the backend optimises for.
        precision_hint: Arithmetic of a float model where the backend has a choice.
    """

    threads: int | None = None
    hint: Literal["latency", "throughput"] = "latency"
    precision_hint: Literal["f32", "bf16", "f16"] | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Requires:
    """What a machine must have before a variant may run on it.

    Attributes:
        cpu_flags: All of these, by the names of `probe.facts`; `a|b` is met by either.
        min_version: Oldest version of the backend's package.
        arch: One of these machine types; empty means any.
    """

    cpu_flags: tuple[str, ...] = ()
    min_version: str | None = None
    arch: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GoldenTolerance:
    """How far this machine may be from the golden vectors.

    Attributes:
        max_abs: Largest difference of any of the task's scores, 0 to 0.5.
        max_grey_levels: Largest difference of a pixel of the tensor, where another OpenCV version decodes or resizes
            differently, 0 to 16; 0 demands equality.
    """

    max_abs: float
    max_grey_levels: int = 4

    def __post_init__(self) -> None:
        for name, most in (("max_abs", 0.5), ("max_grey_levels", 16)):  # beyond them nothing would be proven
            if not 0 <= getattr(self, name) <= most:
                raise UsageError(name, f"from 0 to {most}", str(getattr(self, name)), fix="export the bundle again")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GoldenDecision:
    """What a variant must decide on a golden image.

    Attributes:
        label: As in its `Decision`.
        verdict: As in its `Decision`.
    """

    label: str
    verdict: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class VariantManifest:
    """One way to run the model.

    Attributes:
        id: Unique in the bundle.
        backend: Name of the backend.
        precision: Arithmetic of most of the network.
        files: Role → member; two variants may name the same member.
        options: Threads and hints.
        requires: What the machine must have.
        params: How this variant decides, fitted on validation: the task's own `Params`.
        golden: Member with the expected scores of the task, `.npy` float32 (G, S).
        golden_tolerance: How far a device may be from them.
        golden_decisions: What must be decided on each golden image, G of them.
        evidence: Measured figures with their conditions.
    """

    id: str
    backend: str
    precision: Precision
    files: dict[str, str]
    params: Any
    golden: str
    golden_tolerance: GoldenTolerance
    golden_decisions: tuple[GoldenDecision, ...] = ()
    options: VariantOptions = VariantOptions()
    requires: Requires = Requires()
    evidence: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GoldenManifest:
    """The golden vectors' inputs.

    Attributes:
        count: How many there are (G).
        images: Members holding the encoded images, G of them.
        tensors: Member holding the preprocessed tensors, `.npy` uint8 (G, H, W, 3).
        tensor_sha256: Of the tensors' bytes in C order, without the `.npy` header.
        licence: Of the images; they may be plant secrets.
    """

    count: int
    images: tuple[str, ...]
    tensors: str
    tensor_sha256: str
    licence: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """A member of the bundle: its name, size in bytes and SHA-256 in lower-case hex."""

    name: str
    size: int
    sha256: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Everything a bundle says about itself.

    Attributes:
        schema_version: Of this format.
        min_runtime: Oldest edgetl-runtime that may run the bundle.
        created: ISO date.
        edgetl_version: Of the writer.
        task: Names what is decided.
        line: Product line.
        sequence: Place in the line's ledger; a device never goes back.
        labels: What is decided about: the task's own `Labels`.
        outputs: Of the models of all variants.
        preprocess: From image to tensor.
        variants: Ways to run the model.
        chosen: Id of the variant that won.
        golden: Inputs of the golden vectors.
        aims: What the parameters were fitted for, in the words of the task.
        target: The resolved device profile.
        contract: What the variant had to keep.
        metrics: Validation and test figures with their conditions.
        digests: Of data, split, calibration and run.
        licences: Of weights and data.
        versions: Of the packages that made the bundle.
        files: Every further member, in the order of the file; filled in by the writer.
    """

    schema_version: int = SCHEMA_VERSION
    min_runtime: str
    created: str
    edgetl_version: str
    task: str
    line: str
    sequence: int
    labels: Any
    outputs: tuple[OutputSpec, ...]
    preprocess: PreprocessSpec
    variants: tuple[VariantManifest, ...]
    chosen: str
    golden: GoldenManifest
    aims: dict[str, Any] = dataclasses.field(default_factory=dict)
    target: dict[str, Any] = dataclasses.field(default_factory=dict)
    contract: Contract = dataclasses.field(default_factory=Contract)
    metrics: dict[str, Any] = dataclasses.field(default_factory=dict)
    digests: dict[str, str] = dataclasses.field(default_factory=dict)
    licences: dict[str, str] = dataclasses.field(default_factory=dict)
    versions: dict[str, str] = dataclasses.field(default_factory=dict)
    files: tuple[FileEntry, ...] = ()

    def variant(self, variant_id: str) -> VariantManifest:
        """Return the variant of that id.

        Raises:
            BundleError: There is none.
        """
        for variant in self.variants:
            if variant.id == variant_id:
                return variant
        known = [v.id for v in self.variants]
        raise BundleError("the variant", "in the bundle", f"'{variant_id}'", fix=nearest(variant_id, known))


def parse(data: bytes) -> Manifest:
    """Read `manifest.json` strictly.

    Args:
        data: UTF-8 JSON.

    Raises:
        BundleError: It is not JSON, has unknown, missing, twin or wrong keys, is from a newer edgetl, or contradicts
            itself.
    """
    mapping = from_json(data, where=MANIFEST_NAME, error=BundleError, fix="copy the bundle again")
    if isinstance(mapping, dict):
        _check_version(mapping.get("schema_version"))
        _check_task(mapping.get("task"))
    try:
        manifest = _typed(from_mapping(Manifest, mapping, where=MANIFEST_NAME, error=BundleError))
    except BundleError:
        raise
    except EdgetlError as error:  # a range check inside PreprocessSpec
        raise BundleError(MANIFEST_NAME, "valid", error.sentence, fix="export the bundle again") from error
    check(manifest)
    return manifest


def _typed(plain: Manifest) -> Manifest:
    """Return the manifest with labels and parameters of its task's own types."""
    task = tasks.get(plain.task)
    labels: Any = from_mapping(task.labels_type, plain.labels, where=f"{MANIFEST_NAME}: labels", error=BundleError)
    variants = []
    for variant in plain.variants:
        where = f"{MANIFEST_NAME}: params of {variant.id} for {task.name}"
        params: Any = from_mapping(task.params_type, variant.params, where=where, error=BundleError)
        variants.append(dataclasses.replace(variant, params=params))
    bounds: Any = from_mapping(
        task.bounds_type, plain.contract.of_task, where=f"{MANIFEST_NAME}: contract for {task.name}", error=BundleError
    )
    task.check_bounds(bounds, labels)
    return dataclasses.replace(plain, labels=labels, variants=tuple(variants))


def dump(manifest: Manifest) -> bytes:
    """Return the manifest as the bytes of `manifest.json`: the same manifest gives the same bytes."""
    check(manifest)
    return (json.dumps(to_mapping(manifest), ensure_ascii=False, indent=1, allow_nan=False) + "\n").encode()


def check(manifest: Manifest) -> None:
    """Refuse a manifest that contradicts itself.

    Raises:
        BundleError: Names which field, and why.
    """
    for what, name in _names(manifest):
        _must(not _CONTROL.search(name), what, "without control characters", repr(name))
    for what, version in _versions(manifest):
        _must(bool(_VERSION.fullmatch(version)), what, "a version such as 0.1.0", f"'{version:.40}'")
    ids = [v.id for v in manifest.variants]
    names = [f.name for f in manifest.files]
    task = tasks.get(manifest.task)
    _check_outputs(task.outputs(manifest.labels), manifest.outputs)
    _must(bool(ids) and len(set(ids)) == len(ids), "variants", "at least one, with different ids", str(ids))
    _must(manifest.chosen in ids, "chosen", "the id of a variant", f"'{manifest.chosen}'")
    golden = manifest.golden
    _must(
        golden.count == len(golden.images),
        "golden.count",
        f"{len(golden.images)}, as images says",
        str(golden.count),
    )
    for variant in manifest.variants:
        _must(
            len(variant.golden_decisions) == golden.count,
            f"golden_decisions of {variant.id}",
            f"{golden.count}, one for each golden image",
            str(len(variant.golden_decisions)),
        )
        _must("model" in variant.files, f"files of {variant.id}", "with a model", str(list(variant.files)))
        strange = {d.verdict for d in variant.golden_decisions} - set(task.verdicts(manifest.labels))
        _must(
            not strange,
            f"verdicts of {variant.id}",
            f"of {', '.join(task.verdicts(manifest.labels))}",
            ", ".join(sorted(strange)),
        )
        unknown = {d.label for d in variant.golden_decisions} - set(task.classes(manifest.labels))
        _must(not unknown, f"labels of {variant.id}", "classes of the bundle", ", ".join(sorted(unknown)))
    if not names:  # a manifest on its way to the writer
        return
    referenced = [golden.tensors, *golden.images]
    for variant in manifest.variants:
        referenced += [variant.golden, *variant.files.values()]
    missing = [name for name in referenced if name not in set(names)]
    _must(not missing, "files", "all that the manifest names", f"none called '{missing[0] if missing else ''}'")


def _names(manifest: Manifest) -> Iterator[tuple[str, str]]:
    """Yield what people read on a terminal or in a log, with the name of its field."""
    yield "line", manifest.line
    yield from (("classes", name) for name in tasks.get(manifest.task).classes(manifest.labels))
    for variant in manifest.variants:
        yield from (("id of a variant", variant.id), ("backend of a variant", variant.backend))


def _versions(manifest: Manifest) -> Iterator[tuple[str, str]]:
    """Yield what is compared as a version, with the name of its field."""
    yield "min_runtime", manifest.min_runtime
    for variant in manifest.variants:
        if variant.requires.min_version is not None:
            yield f"min_version of {variant.id}", variant.requires.min_version


def _check_outputs(needed: tuple[OutputSpec, ...], declared: tuple[OutputSpec, ...]) -> None:
    names = [output.name for output in declared]
    _must(len(set(names)) == len(names), "outputs", "of different names", ", ".join(names))
    for want in needed:
        have = next((output for output in declared if output.name == want.name), None)
        got = ", ".join(names) or "none" if have is None else words_of_output(have.name, have.shape)
        fits = have is not None and (have.shape, have.dtype) == (want.shape, want.dtype)
        _must(fits, "outputs", f"with {words_of_output(want.name, want.shape)}", got)


def words_of_output(name: str, shape: tuple[int | str | None, ...]) -> str:
    """Return an output as errors name it.

    Example:
        >>> words_of_output("logits", ("N", 2))
        'logits (N, 2)'
    """
    return f"{name} ({', '.join(map(str, shape))})"


def _must(holds: bool, what: str, must: str, got: str) -> None:  # noqa: FBT001  (reads as a sentence at the call)
    if not holds:
        raise BundleError(f"{what} in {MANIFEST_NAME}", must, got, fix="export the bundle again")


def _check_task(task: object) -> None:
    if isinstance(task, str) and task not in tasks.names():
        must = f"one that this edgetl-runtime ({__version__}) decides: {', '.join(tasks.names())}"
        fix = "pip install -U edgetl-runtime"
        raise OutdatedError(f"the task in {MANIFEST_NAME}", must, f"'{task:.60}'", fix=fix)


def _check_version(version: object) -> None:
    if not isinstance(version, int) or isinstance(version, bool):
        return  # said with the other keys
    if version < OLDEST_SCHEMA_VERSION:
        got = f"{version}, made by edgetl 0.1"
        must = f"at least {OLDEST_SCHEMA_VERSION}"
        raise BundleError(f"schema_version in {MANIFEST_NAME}", must, got, fix="deploy the run again with this edgetl")
    if version > SCHEMA_VERSION:
        fix = f"update edgetl-runtime (this is {__version__}): pip install -U edgetl-runtime"
        raise OutdatedError(f"schema_version in {MANIFEST_NAME}", f"at most {SCHEMA_VERSION}", str(version), fix=fix)


def version_tuple(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version for comparison; of absurdly long ones the first digits.

    Example:
        >>> version_tuple("2026.4.1rc2") >= version_tuple("2025.4")
        True
    """
    leading = re.split(r"[^0-9.]", version, maxsplit=1)[0]
    return tuple(int(part[:_VERSION_DIGITS]) for part in leading.split(".") if part)
