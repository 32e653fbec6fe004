"""What builds engines here: the installed TensorRT, and the GPU."""

from __future__ import annotations

from dataclasses import dataclass

from clap_export.engine.options import BuildOptions
from runtime.backends.cuda.driver import DeviceInfo, Driver
from runtime.backends.trt.dialect import Dialect, installed
from runtime.errors import BackendError


@dataclass(frozen=True)
class Toolchain:
    """A library, and the GPU it builds on.

    Attributes:
        device: None when it builds ahead of time, without one.
    """

    dialect: Dialect
    driver: Driver | None

    @property
    def device(self) -> DeviceInfo | None:
        """The GPU, if there is one."""
        return None if self.driver is None else self.driver.info


def toolchain(options: BuildOptions) -> Toolchain:
    """Find what builds engines here.

    The driver is asked first: without one, TensorRT's own builder and runtime crash the process.

    Raises:
        BackendError: no driver, no such GPU, or no TensorRT, each in a sentence of its own.
    """
    if options.compute_capabilities:
        return Toolchain(installed("tensorrt_rtx"), None)
    try:
        driver = Driver(options.device)
        driver.enter()  # TensorRT builds on the GPU whose context is current
        return Toolchain(installed(options.library), driver)
    except BackendError as error:
        raise BackendError(
            f"engines are built on the GPU that will run them, and not here: {error} Otherwise "
            "take --target onnx here and clap-export build there, or --compute-capability 8.9 "
            "(TensorRT-RTX, ahead of time)."
        ) from error
