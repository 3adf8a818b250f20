"""The few calls into the CUDA driver that an inference needs, through `cuda-bindings`.

The driver's own interface is used, not the runtime library's: it comes with the driver, so that one wheel of the
bindings serves CUDA 12 and 13.
"""

from __future__ import annotations

import ctypes
import dataclasses
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgetl_runtime.errors import BackendError, BackendMissingError

if TYPE_CHECKING:
    from numpy.typing import NDArray

DRIVER = "libcuda.so.1"
OLDEST_DRIVER = 12000  # CUDA 12.0, as the driver counts
L4T_RELEASE = Path("/etc/nv_tegra_release")
_OUT_OF_MEMORY, _NO_DEVICE = 2, 100
_TOO_OLD = (35, 803, 804)  # insufficient driver, driver mismatch, compatibility not supported on the device
_NON_BLOCKING, _MAPPED, _THREAD_LOCAL = 1, 2, 1


class CudaError(RuntimeError):
    """A call into the driver failed.

    Args:
        call: Name of the call.
        code: What it returned.
    """

    def __init__(self, call: str, code: Any) -> None:  # noqa: ANN401  (an enumeration of the bindings)
        self.call, self.code = call, int(code)
        super().__init__(f"{call} returned {getattr(code, 'name', code)} ({int(code)})")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """What is known of a GPU.

    Attributes:
        name: The vendor's.
        compute_capability: Such as "8.7".
        driver: Version of CUDA the driver offers, such as "12.6".
        integrated: Whether it shares the memory of the CPU, as on Jetson.
        memory_mb: Total.
        l4t: Release of Jetson Linux; empty elsewhere.
    """

    name: str
    compute_capability: str
    driver: str
    integrated: bool
    memory_mb: int
    l4t: str


def missing() -> str | None:
    """Say in one clause why no GPU can be used here, without creating a context; None if one can."""
    try:
        driver = ctypes.CDLL(DRIVER)
    except OSError:
        return f"no NVIDIA driver ({DRIVER}) is installed"
    code = driver.cuInit(0)
    if code:
        return _why(code)
    count, version = ctypes.c_int(), ctypes.c_int()
    if driver.cuDriverGetVersion(ctypes.byref(version)) == 0 and version.value < OLDEST_DRIVER:
        return f"the driver is too old: it offers CUDA {_version(version.value)}, CUDA 12.0 is needed"
    if driver.cuDeviceGetCount(ctypes.byref(count)) or count.value == 0:
        return _why(_NO_DEVICE)
    spec = importlib.util.find_spec("cuda")
    if spec is None or importlib.util.find_spec("cuda.bindings") is None:
        return "the package cuda-bindings is not installed"
    return None


def _why(code: int) -> str:
    if code == _NO_DEVICE:
        return "no CUDA device was found"
    if code in _TOO_OLD:
        return "the driver is too old for its GPU or CUDA: update it"
    return f"the NVIDIA driver fails to start (error {code})"


def _version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"


class Cuda:
    """The first GPU with its primary context, shared with everything else in the process; a handle to its calls.

    Raises:
        BackendMissingError: There is no usable GPU.
    """

    def __init__(self) -> None:
        reason = missing()
        if reason is not None:
            fix = "run on a machine with an NVIDIA GPU and its driver, or --allow-fallback for another variant"
            raise BackendMissingError("a CUDA device", "usable", reason, fix=fix)
        from cuda.bindings import driver

        self.driver: Any = driver
        self.call("cuInit", 0)
        self.device = self.call("cuDeviceGet", 0)
        self.context = self.call("cuDevicePrimaryCtxRetain", self.device)
        self.make_current()

    def call(self, name: str, *arguments: Any) -> Any:  # noqa: ANN401  (whatever the call returns)
        """Make one call.

        Raises:
            CudaError: It returned an error.
        """
        code, *values = getattr(self.driver, name)(*arguments)
        if int(code):
            raise CudaError(name, code)
        return values[0] if values else None

    def make_current(self) -> None:
        """Bind the calling thread to the GPU."""
        self.call("cuCtxSetCurrent", self.context)

    def gpu(self) -> Gpu:
        """Read what the GPU is."""
        name = self.call("cuDeviceGetName", 128, self.device)
        return Gpu(
            name=name.split(b"\0")[0].decode(),
            compute_capability=f"{self._attribute('COMPUTE_CAPABILITY_MAJOR')}."
            f"{self._attribute('COMPUTE_CAPABILITY_MINOR')}",
            driver=_version(self.call("cuDriverGetVersion")),
            integrated=bool(self._attribute("INTEGRATED")),
            memory_mb=self.call("cuDeviceTotalMem", self.device) // 2**20,
            l4t=l4t(),
        )

    def _attribute(self, name: str) -> int:
        attribute = getattr(self.driver.CUdevice_attribute, f"CU_DEVICE_ATTRIBUTE_{name}")
        return int(self.call("cuDeviceGetAttribute", attribute, self.device))

    def stream(self) -> Any:  # noqa: ANN401  (a handle)
        """Make a stream that does not wait for the others of the process."""
        return self.call("cuStreamCreate", _NON_BLOCKING)

    def close(self) -> None:
        """Give the primary context back."""
        self.call("cuDevicePrimaryCtxRelease", self.device)


class Buffer:
    """One tensor in page-locked memory of the CPU and, unless the GPU shares that, in the GPU's own.

    Args:
        cuda: Of this thread.
        shape: Of the tensor.
        dtype: Of the tensor.
        shared: Whether the GPU reads and writes the CPU's memory; then there is nothing to copy.

    Attributes:
        host: The tensor as numpy sees it.
        address: Of the tensor as the GPU sees it.

    Raises:
        BackendError: There is not enough memory.
    """

    def __init__(self, cuda: Cuda, shape: tuple[int, ...], dtype: np.dtype[Any], *, shared: bool) -> None:
        self._cuda = cuda
        self._device: Any = None
        self._pinned: int = 0
        self.size = int(np.prod(shape)) * dtype.itemsize
        try:
            self._pinned = int(cuda.call("cuMemHostAlloc", self.size, _MAPPED if shared else 0))
            if not shared:
                self._device = cuda.call("cuMemAlloc", self.size)
        except CudaError as error:
            self.close()
            raise _no_room(error, self.size) from error
        memory = (ctypes.c_ubyte * self.size).from_address(self._pinned)
        self.host: NDArray[Any] = np.ctypeslib.as_array(memory).view(dtype).reshape(shape)
        self.address = int(
            self._device if self._device is not None else cuda.call("cuMemHostGetDevicePointer", self._pinned, 0)
        )

    def upload(self, stream: Any) -> None:  # noqa: ANN401
        """Copy to the GPU, in the order of the stream."""
        if self._device is not None:
            self._cuda.call("cuMemcpyHtoDAsync", self._device, self._pinned, self.size, stream)

    def download(self, stream: Any) -> None:  # noqa: ANN401
        """Copy from the GPU, in the order of the stream."""
        if self._device is not None:
            self._cuda.call("cuMemcpyDtoHAsync", self._pinned, self._device, self.size, stream)

    def close(self) -> None:
        """Free both; calling twice is harmless."""
        device, pinned = self._device, self._pinned
        self._device, self._pinned = None, 0
        self.host = np.empty(0, np.uint8)  # nobody may look at memory that is gone
        if device is not None:
            self._cuda.call("cuMemFree", device)
        if pinned:
            self._cuda.call("cuMemFreeHost", pinned)


class Graph:
    """What a stream did once, recorded, to be launched as a whole.

    Args:
        cuda: Of this thread.
        stream: That is recorded and launched on.
    """

    def __init__(self, cuda: Cuda, stream: Any) -> None:  # noqa: ANN401
        self._cuda, self._stream = cuda, stream
        self._graph: Any = None
        self._executable: Any = None

    def __enter__(self) -> Graph:
        mode = self._cuda.driver.CUstreamCaptureMode(_THREAD_LOCAL)
        self._cuda.call("cuStreamBeginCapture", self._stream, mode)
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._graph = self._cuda.call("cuStreamEndCapture", self._stream)
        if kind is None:
            self._executable = self._cuda.call("cuGraphInstantiate", self._graph, 0)

    def launch(self) -> None:
        """Do it again."""
        self._cuda.call("cuGraphLaunch", self._executable, self._stream)

    def close(self) -> None:
        """Free the recording; calling twice is harmless."""
        executable, graph = self._executable, self._graph
        self._executable = self._graph = None
        if executable is not None:
            self._cuda.call("cuGraphExecDestroy", executable)
        if graph is not None:
            self._cuda.call("cuGraphDestroy", graph)


def l4t(path: Path = L4T_RELEASE) -> str:
    """Return the release of Jetson Linux, empty on other machines."""
    try:
        words = path.read_text(encoding="ascii", errors="replace").split("\n")[0]
    except OSError:
        return ""
    return ", ".join(part.strip(" #") for part in words.split(",")[:2])


def _no_room(error: CudaError, size: int) -> BackendError:
    must = "enough for the model's tensors" if error.code == _OUT_OF_MEMORY else "given by the driver"
    fix = "close other programs that use the GPU"
    return BackendError("memory of the GPU", must, f"{error} for {size} bytes", fix=fix)
