"""What every backend's session promises: checked shapes, slices, translated errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgetl_runtime import backends, probe
from edgetl_runtime.backends import base
from edgetl_runtime.errors import BackendError, BackendMissingError, ShapeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

VENDORS = [name for name in backends.names() if backends.get(name).available() is None]


def batch(count: int, size_px: int = 16, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, size_px, size_px, 3), np.uint8)


def load(name: str, model: bytes, **options: Any) -> base.BackendSession:
    backend, chosen = backends.get(name), base.LoadOptions(threads=1, **options)
    return backend.load(backend.compile(model, chosen), chosen)


@pytest.mark.parametrize("name", VENDORS)
class TestEveryBackend:
    def test_info_names_the_file_and_is_complete(self, name: str) -> None:
        info = backends.get(name).info
        assert info.name == name
        assert info.precisions
        assert set(info.precisions) <= {"f32", "bf16", "f16", "int8"}
        assert set(info.runs_on) <= {"x86_64", "aarch64"}

    @pytest.mark.parametrize("fixed", [1, 4, None])
    def test_infer_is_equal_for_every_batch(
        self, name: str, fixed: int | None, tiny_onnx: Callable[..., bytes]
    ) -> None:
        images = batch(7)
        with load(name, tiny_onnx(classes=3), batch=fixed) as session:
            whole = session.infer(images)
            single = np.concatenate([session.infer(images[i : i + 1]) for i in range(7)])
        assert whole.shape == (7, 3)
        assert whole.dtype == np.float32
        assert np.abs(whole - single).max() < 1e-5

    def test_infer_does_not_overwrite_what_it_returned(self, name: str, tiny_onnx: Callable[..., bytes]) -> None:
        with load(name, tiny_onnx()) as session:
            first = session.infer(batch(1))
            kept = first.copy()
            session.infer(batch(1, seed=1))
            assert np.array_equal(first, kept)

    @pytest.mark.parametrize("fixed", [4, None])
    def test_infer_many_keeps_the_order(self, name: str, fixed: int | None, tiny_onnx: Callable[..., bytes]) -> None:
        batches = [batch(4, seed=i) for i in range(9)] + [batch(2, seed=99)]
        with load(name, tiny_onnx(), batch=fixed, hint="throughput") as session:
            expected = [session.infer(b) for b in batches]
            found = list(session.infer_many(iter(batches)))
        assert [len(f) for f in found] == [4] * 9 + [2]
        assert max(np.abs(f - e).max() for f, e in zip(found, expected, strict=True)) < 1e-5

    def test_infer_refuses_other_shapes(self, name: str, tiny_onnx: Callable[..., bytes]) -> None:
        with load(name, tiny_onnx()) as session:
            wrong: list[Any] = [batch(1)[0], batch(1).astype(np.float32), batch(1)[..., :1], batch(0), [[1]]]
            if name != "null":  # it takes any size
                wrong.append(batch(1, size_px=8))
            for value in wrong:
                with pytest.raises(ShapeError, match=r"\(N, .*, 3\) uint8"):
                    session.infer(value)

    def test_load_translates_the_vendors_refusal(self, name: str) -> None:
        for model in (b"", b"rubbish", b"\x08\x0a"):
            with pytest.raises((BackendError, ValueError), match="must be"):
                load(name, model)

    def test_close_twice_is_harmless(self, name: str, tiny_onnx: Callable[..., bytes]) -> None:
        session = load(name, tiny_onnx())
        session.close()
        session.close()


def test_translate_takes_the_most_specific_entry() -> None:
    class VendorError(RuntimeError):
        pass

    table: base.ErrorTable = {
        RuntimeError: base.Meaning("general", "a"),
        VendorError: base.Meaning("special", "b"),
    }
    error = base.translate("x", VendorError("line one\nline two"), table)
    assert str(error) == "the model in x must be special; got VendorError: line one line two.\nTry: b"


def test_require_gives_the_install_sentence() -> None:
    class Absent(base.Backend):
        info = base.BackendInfo(name="absent", package="absent-rt", module="no_such_module", precisions=("f32",))

        def errors(self) -> base.ErrorTable:
            return {}

        def _load(self, artifact: base.Artifact, options: base.LoadOptions) -> base.BackendSession:
            raise NotImplementedError

    with pytest.raises(
        BackendMissingError, match=r'absent-rt is not installed.\nTry: pip install "edgetl-runtime\[absent\]"'
    ):
        Absent().load(base.Artifact(data=b""), base.LoadOptions())


def test_available_asks_the_machine_type() -> None:
    import dataclasses

    facts = dataclasses.replace(probe.facts(), arch="riscv64")
    assert backends.get("openvino").available(facts) == "openvino does not run on riscv64"
