"""OpenVINO's Model API, classification: argv is MODEL.onnx RUN BUNDLE IMAGES ITERATIONS."""

import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
import openvino as ov
from model_api.models import ClassificationModel
from protocol import serve

core = ov.Core()
read = core.read_model(sys.argv[1])
shape = read.input(0).partial_shape
read.reshape({0: ov.PartialShape([1, *list(shape)[1:]])})
folder = tempfile.TemporaryDirectory()
xml = Path(folder.name) / "model.xml"
# what its converter writes: labels, resize and input layout belong to the model
for key, value in {
    "model_type": "Classification",
    "labels": "a b",
    "resize_type": "standard",
    "embedded_processing": "",
}.items():
    if value:
        read.set_rt_info(value, ["model_info", key])
ov.save_model(read, xml, compress_to_fp16=False)
model = ClassificationModel.create_model(
    str(xml), device="CPU", nstreams="1", configuration={"labels": ["0", "1"], "topk": 1}
)


def decide(encoded):
    frame = cv2.cvtColor(cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    return int(model(frame).top_labels[0].id)


serve(decide)
