"""The one part of sqdr that is compiled, and only where there is a compiler; all else is in pyproject.toml."""

from setuptools import Extension, setup

FOLDER = "train/encoder/cuba"

setup(
    ext_modules=[
        Extension(
            # loaded with ctypes: C alone, without Python's headers
            "sqdr.train.encoder.cuba._kernel",
            sources=[f"{FOLDER}/{name}.c" for name in ("neuron", "synapse", "weight_gradient", "layer")],
            depends=[f"{FOLDER}/{name}.h" for name in ("processor", "synapse", "layer", "layer_kernels", "layer_vnni")],
            # neither -ffast-math, which changes the whole process's arithmetic, nor -march=native, which ends
            # in a crash on another machine
            extra_compile_args=["-O3", "-std=c99", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast"],
            optional=True,
        )
    ]
)
