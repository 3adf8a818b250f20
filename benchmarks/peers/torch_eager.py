"""PIL, torchvision and eager torch, as a training script decides: argv is MODEL.onnx RUN BUNDLE IMAGES ITERATIONS."""

import sys
from pathlib import Path

from protocol import serve

from edgetl.deploy.yardstick import eager_predictor
from edgetl.run import RunFolder

folder = RunFolder(Path(sys.argv[2]))
serve(eager_predictor(folder, folder.read()))
