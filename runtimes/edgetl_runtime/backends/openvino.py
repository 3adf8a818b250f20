"""OpenVINO on the CPU: the fastest for x86_64 in f32, bf16 and INT8."""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING, Any

import numpy as np

from edgetl_runtime.backends import base
from edgetl_runtime.errors import EdgetlError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    Outputs = dict[str, NDArray[np.float32]]

_RUN = base.Meaning("accepted by OpenVINO", "use another variant, or pip install -U openvino")


class OpenVinoSession(base.BackendSession):
    """One compiled model and one inference request; more requests only for `infer_many`."""

    def __init__(
        self,
        compiled: Any,  # noqa: ANN401  (no types)
        *,
        input_px: tuple[int, int] | None,
        batch: int | None,
        errors: base.ErrorTable,
    ) -> None:
        ports = {port.any_name: port for port in compiled.outputs}
        super().__init__(backend="openvino", errors=errors, outputs=tuple(ports), input_px=input_px, batch=batch)
        self._compiled = compiled
        self._ports = ports
        self._request = compiled.create_infer_request()
        # where the batch is fixed the request writes its outputs to the same places every time
        self._places = None if batch is None else self._views(self._request)

    def _infer(self, batch: NDArray[np.uint8]) -> Outputs:
        # shared memory saves two copies; the result is copied because the next call overwrites it
        self._request.infer({0: batch}, share_inputs=True, share_outputs=True)
        places = self._places or self._views(self._request)
        return {name: np.array(view) for name, view in places.items()}

    def _views(self, request: Any) -> Outputs:  # noqa: ANN401  (no types)
        return {name: request.get_tensor(port).data for name, port in self._ports.items()}

    def infer_many(self, batches: Iterable[NDArray[np.uint8]]) -> Iterator[Outputs]:
        """Yield the outputs of each batch in order, with as many requests in flight as OpenVINO finds best."""
        try:
            yield from self._overlapped(batches)
        except EdgetlError:  # said in our words already
            raise
        except self._vendor as error:
            raise base.translate(self.backend, error, self._errors) from error

    def _overlapped(self, batches: Iterable[NDArray[np.uint8]]) -> Iterator[Outputs]:
        with self._turn:
            if self._closed:
                raise self._closed_error()
            count = int(self._compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
            idle = [self._compiled.create_infer_request() for _ in range(count)]  # they outlive a `close`
        running: collections.deque[Any] = collections.deque()
        for batch in batches:
            self._check(batch)
            if self.batch is not None and len(batch) != self.batch:
                while running:
                    yield self._finish(running, idle)
                yield self.infer(batch)
                continue
            if not idle:
                yield self._finish(running, idle)
            request = idle.pop()
            request.start_async({0: batch}, share_inputs=False)  # the producer may reuse its buffer
            running.append(request)
        while running:
            yield self._finish(running, idle)

    def _finish(self, running: collections.deque[Any], idle: list[Any]) -> Outputs:
        request = running.popleft()
        request.wait()
        outputs = {name: np.array(view) for name, view in self._views(request).items()}
        idle.append(request)
        return outputs

    def _close(self) -> None:
        self._request = self._compiled = self._places = None
        self._ports = {}


class Backend(base.Backend):
    """OpenVINO's CPU device."""

    info = base.BackendInfo(
        name="openvino",
        package="openvino",
        module="openvino",
        precisions=("f32", "bf16", "int8"),
        formats=("onnx",),
    )

    def errors(self) -> base.ErrorTable:
        """Return what OpenVINO raises: its binding knows only builtin exceptions."""
        return {RuntimeError: _RUN, ValueError: _RUN, TypeError: _RUN}

    def _load(self, artifact: base.Artifact, options: base.LoadOptions) -> OpenVinoSession:
        import openvino

        core = openvino.Core()
        model = core.read_model(artifact.data)
        shape = model.input(0).partial_shape
        if options.batch is not None:  # a static shape plans its memory once and runs faster
            shape = openvino.PartialShape([options.batch, *list(shape)[1:]])
            model.reshape({0: shape})
        compiled = core.compile_model(model, "CPU", _properties(artifact, options))
        height, width = shape[1], shape[2]
        input_px = (height.get_length(), width.get_length()) if height.is_static and width.is_static else None
        return OpenVinoSession(compiled, input_px=input_px, batch=options.batch, errors=self.errors())


def _properties(artifact: base.Artifact, options: base.LoadOptions) -> dict[str, str | int]:
    properties: dict[str, str | int] = {
        "PERFORMANCE_HINT": options.hint.upper(),
        # always said: left alone, OpenVINO computes float models in bf16 where the CPU can
        "INFERENCE_PRECISION_HINT": options.precision,
    }
    if options.threads is not None:
        properties["INFERENCE_NUM_THREADS"] = options.threads
    if options.hint == "latency":
        properties["NUM_STREAMS"] = 1
    if artifact.cache_dir is not None:
        properties["CACHE_DIR"] = str(artifact.cache_dir)
    return properties
