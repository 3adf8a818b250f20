"""Errors and availability; what every backend's session promises is in tests/contracts/test_backends.py."""

from __future__ import annotations

import pytest

from edgetl_runtime import backends, probe
from edgetl_runtime.backends import base
from edgetl_runtime.errors import BackendMissingError


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
