"""PIL, torchvision and torch.compile: argv is MODEL.onnx RUN BUNDLE IMAGES ITERATIONS."""

import io
import sys
from pathlib import Path

import torch
from PIL import Image
from protocol import serve
from torchvision import transforms

from edgetl.finetune.store import load_model
from edgetl.run import RunFolder

folder = RunFolder(Path(sys.argv[2]))
run = folder.read()
model = torch.compile(load_model(folder, run))
size = (run.preprocess.height_px, run.preprocess.width_px)
steps = transforms.Compose([transforms.Resize(size), transforms.ToTensor(), transforms.Normalize(run.mean, run.std)])


def decide(encoded):
    with torch.inference_mode():
        return int(model(steps(Image.open(io.BytesIO(encoded)).convert("RGB"))[None]).argmax())


serve(decide)
