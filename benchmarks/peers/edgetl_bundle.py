"""A bundle's chosen variant: argv is MODEL.onnx RUN BUNDLE IMAGES ITERATIONS."""

import sys

from protocol import serve

import edgetl_runtime

session = edgetl_runtime.open(sys.argv[3])
classes = session.manifest.labels.classes
serve(lambda image: classes.index(session.predict(image).label))
