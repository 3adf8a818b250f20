"""ONNX Runtime on the CPU: portable, quick to start, x86_64 and aarch64."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgetl_runtime.backends import base

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_COPY = base.Meaning("loadable", "copy the bundle again, or export it again")
_RUN = base.Meaning("able to run", "use another variant, and report this one")
_FIT = base.Meaning("supported by this version", "pip install -U onnxruntime")
MEANINGS = {
    "InvalidProtobuf": _COPY,
    "InvalidGraph": _COPY,
    "NoModel": _COPY,
    "NoSuchFile": _COPY,
    "NotFound": _COPY,
    "ModelLoaded": _RUN,
    "ModelLoadCanceled": _RUN,
    "ModelRequiresCompilation": _FIT,
    "NotImplemented": _FIT,
    "InvalidArgument": base.Meaning("run with inputs of its own shapes", "use the bundle's own preprocessing"),
    "EPFail": _RUN,
    "EngineError": _RUN,
    "DeviceReset": _RUN,
    "RuntimeException": _RUN,
    "Fail": _RUN,
}
# it quantizes the float biases that a graph kept float on purpose; with scales of float16 they become noise (1.31)
CHANGES_NUMBERS = ["WeightBiasQuantization"]


class OnnxRuntimeSession(base.BackendSession):
    """One InferenceSession with one input."""

    def __init__(self, session: Any, *, batch: int | None, errors: base.ErrorTable) -> None:  # noqa: ANN401  (no types)
        inputs = session.get_inputs()
        super().__init__(
            backend="onnxruntime",
            errors=errors,
            outputs=tuple(output.name for output in session.get_outputs()),
            input_px=base.fixed_input_px(inputs[0].shape),
            batch=batch,
        )
        self._input = inputs[0].name
        self._session = session

    def _infer(self, batch: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        return dict(zip(self.outputs, self._session.run(self.outputs, {self._input: batch}), strict=True))

    def _close(self) -> None:
        self._session = None


class Backend(base.Backend):
    """ONNX Runtime's CPU provider."""

    info = base.BackendInfo(name="onnxruntime", package="onnxruntime", module="onnxruntime", precisions=("f32", "int8"))

    def errors(self) -> base.ErrorTable:
        """Return ONNX Runtime's exceptions; a class that this version lacks is left out."""
        from onnxruntime.capi import onnxruntime_pybind11_state as state

        classes = {getattr(state, name, None): meaning for name, meaning in MEANINGS.items()}
        table = {cls: meaning for cls, meaning in classes.items() if cls is not None}
        # the binding raises these two for wrong names and types of inputs
        return {**table, RuntimeError: _RUN, ValueError: MEANINGS["InvalidArgument"]}

    def _load(self, artifact: base.Artifact, options: base.LoadOptions) -> OnnxRuntimeSession:
        import onnxruntime as ort

        settings = ort.SessionOptions()
        settings.log_severity_level = 3
        settings.intra_op_num_threads = options.threads or 0
        settings.inter_op_num_threads = 1
        settings.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        # a spinning pool starves decoding and the neighbours (measured 29x by rf-detr PR 1456)
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # sums of unsigned by signed bytes saturate without VNNI; this takes exact ones there, elsewhere nothing changes
        settings.add_session_config_entry("session.x64quantprecision", "1")
        if options.batch is not None:
            settings.add_free_dimension_override_by_name("N", options.batch)
        session = ort.InferenceSession(
            artifact.data, settings, providers=["CPUExecutionProvider"], disabled_optimizers=CHANGES_NUMBERS
        )
        session._model_bytes = None  # kept only to load again with other providers: memory the station needs
        return OnnxRuntimeSession(session, batch=options.batch, errors=self.errors())
