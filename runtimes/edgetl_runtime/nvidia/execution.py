"""Execute an engine: page-locked buffers, one stream, one recorded graph; nothing is allocated on the GPU per call."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np

from edgetl_runtime.backends.base import BackendSession, ErrorTable, Meaning
from edgetl_runtime.errors import BackendError
from edgetl_runtime.nvidia.builder import sizes
from edgetl_runtime.nvidia.cuda import Buffer, Cuda, CudaError, Graph

if TYPE_CHECKING:
    import tensorrt as trt
    from numpy.typing import NDArray

    from edgetl_runtime.nvidia.dialect import Dialect

REBUILD = "edgetl-runtime build BUNDLE --force"
ERRORS: ErrorTable = {
    CudaError: Meaning("able to run on this GPU", "restart the program; if it stays, dmesg | grep -i nvrm"),
    RuntimeError: Meaning("accepted by TensorRT", REBUILD),
    TypeError: Meaning("accepted by TensorRT", "pip install -U edgetl-runtime"),
    MemoryError: Meaning("within the memory", "close other programs"),
}


class EngineSession(BackendSession):
    """One engine with one execution context.

    Args:
        dialect: The vendor's library.
        plan: Bytes of the engine, made on this machine or taken from a verified bundle.
        backend: Name, for messages.
        cuda: The GPU, owned by the session from now on.

    Attributes:
        graph_reason: Why inference is not one recorded graph; None if it is.
    """

    def __init__(self, dialect: Dialect, plan: bytes, *, backend: str, cuda: Cuda) -> None:
        self._cuda: Cuda | None = cuda
        self._buffers: list[Buffer] = []
        self._graph: Graph | None = None
        self._stream: Any = None
        self._engine: Any = None
        self._context: Any = None
        self._plan_bytes = len(plan)  # the weights, in the main
        self.graph_reason: str | None = None
        try:
            self._open(dialect, plan, backend, cuda)
        except BaseException:  # a session that never was must leave nothing on the GPU
            self._close()
            raise

    def _open(self, dialect: Dialect, plan: bytes, backend: str, cuda: Cuda) -> None:
        log = dialect.module.Logger(dialect.module.Logger.ERROR)
        runtime: trt.Runtime = dialect.module.Runtime(log)
        engine: trt.ICudaEngine | None = runtime.deserialize_cuda_engine(plan)
        if engine is None:
            got = "an engine of another version or GPU, or one that does not fit in its memory"
            raise BackendError("the engine", f"loadable by {dialect.title}", got, fix=REBUILD)
        self._engine = engine
        names = [engine.get_tensor_name(place) for place in range(engine.num_io_tensors)]
        inputs = [name for name in names if engine.get_tensor_mode(name) == dialect.module.TensorIOMode.INPUT]
        if inputs != ["image"]:
            raise BackendError("the engine", "of one input, image", ", ".join(names), fix=REBUILD)
        outputs = tuple(name for name in names if name != "image")
        context: trt.IExecutionContext | None = engine.create_execution_context()
        if context is None:
            got = f"none for {engine.device_memory_size_v2} bytes of activations"
            raise BackendError("memory of the GPU", "enough for the engine", got, fix="close other programs")
        self._context = context
        shape = sizes(engine.get_tensor_profile_shape("image", 0)[1])
        context.set_input_shape("image", dialect.module.Dims(shape))
        super().__init__(backend=backend, errors=ERRORS, outputs=outputs, input_px=(shape[1], shape[2]), batch=shape[0])
        self._bind(cuda, context, names, dialect)
        self._record(cuda, context)

    def _bind(self, cuda: Cuda, context: trt.IExecutionContext, names: list[str], dialect: Dialect) -> None:
        shared = cuda.gpu().integrated
        if shared:  # what lies in the CPU's memory too, but in nobody's resident memory
            held = int(self._engine.device_memory_size_v2) + self._plan_bytes
            self.unseen_mb = held / 2**20
        self._stream = cuda.stream()
        for name in names:
            shape = sizes(context.get_tensor_shape(name))
            dtype = np.dtype(dialect.module.nptype(self._engine.get_tensor_dtype(name)))
            buffer = Buffer(cuda, shape, dtype, shared=shared)
            self._buffers.append(buffer)
            context.set_tensor_address(name, buffer.address)
        self._image = self._buffers[names.index("image")]
        self._results = {name: self._buffers[names.index(name)] for name in self.outputs}

    def _record(self, cuda: Cuda, context: trt.IExecutionContext) -> None:
        """Run once as it is, then record the same; an engine that cannot be recorded runs as it is."""
        self._image.host[...] = 0
        self._enqueue(context)
        cuda.call("cuStreamSynchronize", self._stream)
        graph = Graph(cuda, self._stream)
        try:
            with graph:
                self._enqueue(context)
            graph.launch()
            cuda.call("cuStreamSynchronize", self._stream)
        except (CudaError, BackendError) as error:
            with contextlib.suppress(CudaError):
                graph.close()
            self.graph_reason = " ".join(str(error).split())[:200]
        else:
            self._graph = graph

    def _enqueue(self, context: trt.IExecutionContext) -> None:
        self._image.upload(self._stream)
        done: Any = context.execute_async_v3(int(self._stream))  # the stubs' bool is TensorRT's data type
        if not done:
            got = "a refusal of execute_async_v3"
            raise BackendError("the engine", "able to run", got, fix=REBUILD)
        for result in self._results.values():
            result.download(self._stream)

    def _infer(self, batch: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        cuda: Cuda = self._cuda  # type: ignore[assignment]  # an open session has one
        cuda.make_current()  # every time: the calling thread may be new, even where its number is not
        np.copyto(self._image.host, batch)
        if self._graph is not None:
            self._graph.launch()
        else:
            self._enqueue(self._context)
        cuda.call("cuStreamSynchronize", self._stream)
        return {name: result.host.copy() for name, result in self._results.items()}

    def _close(self) -> None:
        """Free everything on the GPU, in the reverse order of its making; calling twice is harmless."""
        cuda, self._cuda = self._cuda, None
        if cuda is None:
            return
        cuda.make_current()
        if self._graph is not None:
            self._graph.close()
        self._graph = self._context = None
        self._engine = None
        for buffer in self._buffers:
            buffer.close()
        self._buffers = []
        if self._stream is not None:
            cuda.call("cuStreamDestroy", self._stream)
        cuda.close()
