"""What runs an ONNX file: ONNX Runtime, or OpenVINO where it is installed and chosen."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from sarcoscope.errors import SettingError

Array = NDArray[Any]
Network = Callable[[Mapping[str, Array]], list[Array]]
RUNTIMES: Final = ("onnxruntime", "openvino")
_MOST_THREADS: Final = 4


def runtime_name() -> str:
    """The runtime in use: ``SARCOSCOPE_RUNTIME``, else OpenVINO where it is installed, else ONNX Runtime.

    Raises:
        SettingError: the variable names no runtime, or one that is not installed.
    """
    wanted = os.environ.get("SARCOSCOPE_RUNTIME", "")
    installed = importlib.util.find_spec("openvino") is not None
    if not wanted:
        return "openvino" if installed else "onnxruntime"
    if wanted not in RUNTIMES:
        raise SettingError(f"SARCOSCOPE_RUNTIME is '{wanted}'; it is {' or '.join(RUNTIMES)}.")
    if wanted == "openvino" and not installed:
        raise SettingError("OpenVINO is not installed: install Sarcoscope with its 'openvino' extra.")
    return wanted


def open_network(path: Path, runtime: str) -> Network:
    """A network as a function from named inputs to its outputs, in full precision (fp32)."""
    return _openvino(path) if runtime == "openvino" else _onnxruntime(path)


def _onnxruntime(path: Path) -> Network:
    options = ort.SessionOptions()
    options.intra_op_num_threads = min(_MOST_THREADS, os.cpu_count() or 1)
    options.log_severity_level = 3
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda inputs: [np.asarray(o) for o in session.run(None, dict(inputs))]


def _openvino(path: Path) -> Network:
    import openvino

    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": min(_MOST_THREADS, os.cpu_count() or 1),
    }
    compiled = openvino.Core().compile_model(str(path), "CPU", settings)

    def run(inputs: Mapping[str, Array]) -> list[Array]:
        answer = compiled(dict(inputs))
        return [np.array(answer[output]) for output in compiled.outputs]

    return run
