"""The page in a repository: what is in it, and how it is started."""

from __future__ import annotations

from clap_export.triton.config import ModelConfig, Tensor

# The server that these repositories were tried on; Triton 2.51 is that of the release 24.10.
IMAGE = "nvcr.io/nvidia/tritonserver:24.10-py3"

PAGE = """\
# {title}

A model repository for NVIDIA's Triton Inference Server, written by clap-export {version}.
Embedding space `{space}`; recordings at {rate} Hz.

{models}
`config.pbtxt` in each folder says all of this to Triton. `{sums}` holds the SHA-256 of every other
file in them: `sha256sum -c {sums}` in this folder.

## Start it

{start}
What Triton may take together waits at most {wait} microseconds for it; change
`max_queue_delay_microseconds`, `instance_group` and `preferred_batch_size` to your load.

## Call it

```python
{call}
```
"""

PYTHON = """\
The models of the Python backend run on clap-export's runtime, without torch. An image that has it
(Triton {release}'s Python backend does not work with numpy 2):

```Dockerfile
FROM {image}
COPY clap_export-*.whl /tmp/
RUN pip install --no-cache-dir "numpy<2" "$(ls /tmp/clap_export-*.whl)[{extra}]"
```

```sh
docker build -t clap-triton .
docker run --rm {gpus}--shm-size=1g -p 127.0.0.1:8000:8000 -p 127.0.0.1:8001:8001 \\
  -v "$PWD":/models:ro clap-triton tritonserver --model-repository=/models
```
"""
PLAIN = """\
```sh
docker run --rm {gpus}-p 127.0.0.1:8000:8000 -p 127.0.0.1:8001:8001 \\
  -v "$PWD":/models:ro {image} tritonserver --model-repository=/models
```
"""
ENGINE = """\
The engines were built by {engine}, and run in an image that has the same TensorRT, on a GPU of the
same kind: the release notes of Triton's images say which has which.
"""
TF32 = """\
On a GPU set `NVIDIA_TF32_OVERRIDE=0` for the server (`docker run -e`): Triton's ONNX Runtime may
otherwise compute the mel frontend in TF32, which is too coarse for it.
"""
CLASSIFY = """\
import numpy as np, soundfile, tritonclient.http as triton

samples, rate = soundfile.read("street.wav", dtype="float32")
given = {{
    "waveform": samples.reshape(len(samples), -1).mean(1)[None],
    "sample_rate": np.array([[rate]], np.int32),{labels}
}}
inputs = []
for name, values in given.items():
    kind = {{"float32": "FP32", "int32": "INT32", "object": "BYTES"}}[str(values.dtype)]
    inputs.append(triton.InferInput(name, values.shape, kind))
    inputs[-1].set_data_from_numpy(values)
found = triton.InferenceServerClient("127.0.0.1:8000").infer("{model}", inputs)
for label, score in zip(found.as_numpy("labels")[0], found.as_numpy("scores")[0]):
    print(label.decode(), score)"""
GRAPH = """\
import soundfile, tritonclient.http as triton

# Mono, at the model's rate, exactly one window: the runtime prepares any other recording.
window = soundfile.read("window.wav", dtype="float32")[0][None, :{samples}]
waveform = triton.InferInput("waveform", window.shape, "FP32")
waveform.set_data_from_numpy(window)
scores = triton.InferRequestedOutput("scores", class_count=3)
client = triton.InferenceServerClient("127.0.0.1:8000")
print(client.infer("{model}", [waveform], outputs=[scores]).as_numpy("scores"))"""


def text(configs: tuple[ModelConfig, ...], engine: str) -> str:
    """The page.

    Args:
        configs: of the models.
        engine: what built the engines, and its version, or nothing.
    """
    last = configs[-1]  # the one that people call
    about = last.parameters
    return PAGE.format(
        title=about["model"], version=about["clap_export"], space=about["space_id"],
        rate=about["sample_rate"], models="".join(_model(config) for config in configs),
        sums="SHA256SUMS", start=_start(configs, engine), wait=2000, call=_call(last),
    )  # fmt: skip


def _model(config: ModelConfig) -> str:
    rows = [("in", t) for t in config.inputs] + [("out", t) for t in config.outputs]
    lines = "".join(f"| {way} | `{t.name}` | {_shape(t)} |\n" for way, t in rows)
    return (
        f"**`{config.name}`** ({config.backend}, at most {config.max_batch} rows):\n\n"
        f"| | tensor | type |\n|---|---|---|\n{lines}\n"
    )


def _shape(tensor: Tensor) -> str:
    kind = tensor.type.removeprefix("TYPE_")
    axes = ", ".join(["rows", *("any" if n < 0 else str(n) for n in tensor.dims)])
    return f"{kind} `[{axes}]`{', may be left out' if tensor.optional else ''}"


def _start(configs: tuple[ModelConfig, ...], engine: str) -> str:
    backends = {config.backend for config in configs}
    provider = next((p for c in configs if (p := c.parameters.get("provider"))), "cpu")
    on_gpu = "tensorrt" in backends or provider in ("cuda", "tensorrt")
    gpus = "--gpus=1 " if on_gpu else ""
    extra = {"cuda": "gpu", "tensorrt": "trt"}.get(provider, provider)
    release = IMAGE.split(":")[1].removesuffix("-py3")
    parts = [ENGINE.format(engine=engine)] if engine else []
    shape = PYTHON if "python" in backends else PLAIN
    parts.append(shape.format(image=IMAGE, gpus=gpus, extra=extra, release=release))
    if "onnxruntime" in backends:
        parts.append(TF32)
    return "\n".join(parts)


def _call(config: ModelConfig) -> str:
    if config.backend != "python":
        samples = config.parameters["window_samples"]
        return GRAPH.format(model=config.name, samples=samples)
    labels = next((t for t in config.inputs if t.name == "labels"), None)
    given = '\n    "labels": np.array([["dog barking", "rain"]], object),'
    return CLASSIFY.format(
        model=config.name, labels=given if labels is not None and not labels.optional else ""
    )
