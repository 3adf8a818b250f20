"""The loop people write: cv2 decode, resize, ONNX Runtime with its defaults: argv is MODEL.onnx RUN BUNDLE IMAGES N."""

import sys

import cv2
import numpy as np
import onnxruntime as ort
from protocol import serve

session = ort.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
_, height, width, _ = session.get_inputs()[0].shape
name = session.get_inputs()[0].name


def decide(encoded):
    frame = cv2.cvtColor(cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    tensor = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
    return int(session.run(["logits"], {name: tensor[None]})[0].argmax())


serve(decide)
