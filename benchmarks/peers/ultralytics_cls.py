"""Ultralytics' classification exported to OpenVINO, its own predict call: argv ends with IMAGES ITERATIONS."""

import os
import sys
import tempfile

import cv2
import numpy as np
from protocol import serve

os.environ["YOLO_OFFLINE"] = "true"
os.chdir(tempfile.mkdtemp())
from ultralytics import YOLO  # noqa: E402  (reads the folder it is started in)

sys.stdout, real = sys.stderr, sys.stdout  # it prints while exporting
exported = YOLO("yolo11n-cls.yaml", task="classify").export(format="openvino", imgsz=192)
model = YOLO(exported, task="classify")
sys.stdout = real


def decide(encoded):
    frame = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    return int(model.predict(frame, imgsz=192, verbose=False)[0].probs.top1)


serve(decide)
