"""A stand-in for TensorRT on machines without a GPU: it parses nothing but shapes and runs one kernel of the stub.

CUDA_FAKE_TENSORRT names the release; what 11.0 removed is not there from then on, and each release insists on its own
way of asking for strong typing. The names are compared with the real bindings of both releases in tests/environments.
With CUDA_FAKE_HANGS a build never ends by itself: what is done to it meanwhile is certain to come before its end.
"""

import ctypes
import enum
import json
import os
import signal

import numpy as np

from edgetl_runtime import onnx_walk

__version__ = os.environ.get("CUDA_FAKE_TENSORRT", "10.3.0")
ELEVEN = int(__version__.split(".")[0]) >= 11
CALLS = []


class NetworkDefinitionCreationFlag(enum.IntEnum):
    EXPLICIT_BATCH = 0
    STRONGLY_TYPED = 1


class BuilderFlag(enum.IntEnum):
    TF32 = 7
    GPU_FALLBACK = 3


class MemoryPoolType(enum.IntEnum):
    WORKSPACE = 0


class TensorIOMode(enum.IntEnum):
    NONE = 0
    INPUT = 1
    OUTPUT = 2


class DeviceType(enum.IntEnum):
    GPU = 0
    DLA = 1


class LayerType(enum.IntEnum):
    CONVOLUTION = 0
    DEQUANTIZE = 1


class ILogger:
    class Severity(enum.IntEnum):
        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2


class Logger(ILogger):
    ERROR = ILogger.Severity.ERROR

    def __init__(self, severity=ILogger.Severity.WARNING):
        self.min_severity = severity


class IProgressMonitor:
    pass


def Dims(shape):  # noqa: N802
    return tuple(shape)


def nptype(kind):
    return {"u1": np.uint8, "f4": np.float32}[kind]


class ITensor:
    def __init__(self, name, shape):
        self.name, self.shape = name, shape


class ILayer:
    def __init__(self, place):
        self.name, self.type, self.place = f"layer_{place}", LayerType.CONVOLUTION, place


class INetworkDefinition:
    num_layers = 3

    def get_input(self, place):
        return ITensor("image", self.image)

    def get_layer(self, place):
        return ILayer(place)


class ParserError:
    def desc(self):
        return "In node 0 with name: bad\nonly for tests"

    def node_name(self):
        return "bad"

    def node_operator(self):
        return "Conv"


class OnnxParser:
    num_errors = 0

    def __init__(self, network, log):
        self.network = network

    def parse(self, model):
        facts = onnx_walk.check(model, name="the model")
        self.network.image = tuple(s if isinstance(s, int) else -1 for s in facts.inputs["image"])
        self.network.classes = facts.outputs["logits"][1]
        self.num_errors = int("CUDA_FAKE_REFUSES" in os.environ)
        return not self.num_errors

    def get_error(self, place):
        return ParserError()


class ITimingCache:
    def __init__(self, data):
        self.data = data

    def serialize(self):
        return self.data or b"timings"


class IOptimizationProfile:
    def set_shape(self, name, low, best, high):
        self.shape = best


class IBuilderConfig:
    def __init__(self):
        self.cache, self.profile = None, None
        self.default_device_type, self.DLA_core = DeviceType.GPU, -1

    def set_memory_pool_limit(self, pool, size):
        CALLS.append(["workspace", size])

    def clear_flag(self, flag):
        CALLS.append(["clear", flag.name])

    def set_flag(self, flag):
        CALLS.append(["set", flag.name])

    def add_optimization_profile(self, profile):
        self.profile = profile

    def create_timing_cache(self, data):
        return ITimingCache(data)

    def set_timing_cache(self, cache, ignore_mismatch):
        self.cache = cache

    def get_timing_cache(self):
        return self.cache

    def can_run_on_DLA(self, layer):  # noqa: N802
        return layer.place != 1


class Builder:
    def __init__(self, log):
        self.log = log

    def create_network(self, flags):
        if flags != (0 if ELEVEN else 1 << 1):
            message = f"flags {flags} in {__version__}"
            raise RuntimeError(message)
        return INetworkDefinition()

    def create_builder_config(self):
        return IBuilderConfig()

    def create_optimization_profile(self):
        return IOptimizationProfile()

    def build_serialized_network(self, network, config):
        monitor = config.progress_monitor
        monitor.phase_start("Building", None, 2)
        while "CUDA_FAKE_HANGS" in os.environ:
            signal.pause()
        monitor.step_complete("Building", 0)
        monitor.phase_finish("Building")
        shape = config.profile.shape if config.profile else network.image
        plan = {"version": __version__, "image": shape, "classes": network.classes, "calls": CALLS}
        return json.dumps(plan).encode()


class IExecutionContext:
    def __init__(self, plan):
        self.plan, self.address, self.stub = plan, {}, ctypes.CDLL("libcuda.so.1")

    def set_input_shape(self, name, shape):
        return True

    def get_tensor_shape(self, name):
        return tuple(self.plan["image"]) if name == "image" else (self.plan["image"][0], self.plan["classes"])

    def set_tensor_address(self, name, address):
        self.address[name] = address
        return True

    def execute_async_v3(self, stream_handle):
        pixels, size = int(np.prod(self.plan["image"])), 4 * self.plan["classes"] * self.plan["image"][0]
        wide = [ctypes.c_uint64(value) for value in (stream_handle, self.address["image"], pixels)]
        return not self.stub.stub_kernel(*wide, ctypes.c_uint64(self.address["logits"]), ctypes.c_uint64(size))


class ICudaEngine:
    num_io_tensors = 2
    device_memory_size_v2 = 4096

    def __init__(self, plan):
        self.plan = plan

    def get_tensor_name(self, place):
        return ("image", "logits")[place]

    def get_tensor_mode(self, name):
        return TensorIOMode.INPUT if name == "image" else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name):
        return "u1" if name == "image" else "f4"

    def get_tensor_profile_shape(self, name, profile):
        return [tuple(self.plan["image"])] * 3

    def create_execution_context(self):
        return None if "CUDA_FAKE_FULL" in os.environ else IExecutionContext(self.plan)


class Runtime:
    def __init__(self, log):
        self.log = log

    def deserialize_cuda_engine(self, plan):
        mapping = json.loads(plan)
        return ICudaEngine(mapping) if mapping["version"] == __version__ else None
