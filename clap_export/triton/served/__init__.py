"""What runs inside Triton's Python backend: on the runtime alone, without torch.

Each module has a ``TritonPythonModel``, which the ``model.py`` of a repository imports.
"""

# Beside model.py, in the folder of a version.
BUNDLE, BANK, TAGGER = "bundle", "labels.npz", "tagger.onnx"
