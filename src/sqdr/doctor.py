"""What this machine can run: installed versions, GPU, Lava, AWS credentials.

Nothing here fails because of what it looks at, reaches the network, or reads a secret into the report.
"""

import importlib.metadata
import json
import operator
import os
import platform
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from sqdr.strict import StrictModel

__all__ = [
    "AwsReport",
    "DoctorReport",
    "ExtraReport",
    "GpuReport",
    "LavaReport",
    "RequirementReport",
    "examine",
    "installed_version",
]

ENABLES = {
    "train": "Train a model jointly, on the CPU or a GPU, and export it to a bundle.",
    "lava": "Run the encoder as a network of Lava processes.",
    "braket": "Run the circuit on Amazon Braket's simulators and quantum processors.",
    "onnx": "Export the encoder and the whole classifier as ONNX, and run the encoder in ONNX Runtime.",
    "nir": "Export the encoder as NIR, which other spiking toolkits read.",
    "plan": "Map the circuit to a device's connectivity and native gates in `sqdr plan`.",
    "mitigation": "Extrapolate <Z> to zero noise with mitiq (GPL-3.0).",
    "bench": "Measure sqdr beside other packages in `sqdr bench`.",
    "results": "Write result rows as Parquet and draw confusion matrices.",
    "report": "Write a report as one HTML file, and its figures for papers.",
}

# Importing Lava takes half a second warm; a cold disk or a busy machine takes tens of seconds.
LAVA_TIMEOUT_S = 60.0

# The compiler is the part of lava-nc 0.10 that fails on Python 3.11 and later.
LAVA_PROBE = """
import importlib.metadata, json, platform
import lava.magma.compiler.compiler, lava.magma.core.run_configs, lava.proc.lif.process
print(json.dumps({"python": platform.python_version(), "version": importlib.metadata.version("lava-nc")}))
"""

LAVA_NEEDS_310 = (
    "lava-nc 0.10 does not import on Python 3.11 and later, and is archived upstream. "
    "Set SQDR_LAVA_PYTHON to a Python 3.10 that has lava-nc."
)

Status = Literal["installed", "installed by hand", "missing", "other version", "not for this Python"]
"""installed by hand: pip would not install it on this Python, yet it is here (lava-dl's SLAYER works so)."""
VersionOf = Callable[[str], "str | None"]


class RequirementReport(StrictModel):
    """One requirement of an extra, and what is installed of it."""

    name: str
    required: str
    installed: str | None
    status: Status


class ExtraReport(StrictModel):
    """One optional extra of sqdr: whether it is complete, and what it is good for."""

    name: str
    enables: str
    is_complete: bool
    requirements: tuple[RequirementReport, ...]


class GpuReport(StrictModel):
    """What torch sees of a GPU, and whether CUDA kernels can be compiled here."""

    torch: str | None
    is_cuda_available: bool
    devices: tuple[str, ...]
    nvcc: str | None
    problem: str | None


class LavaReport(StrictModel):
    """Whether Lava can be imported, tried in a process of its own."""

    is_importable: bool
    interpreter: str
    python: str | None
    version: str | None
    problem: str | None


class AwsReport(StrictModel):
    """Whether AWS credentials are set up and by which method; never a value or a part of one.

    ``method`` is the name boto3 gives the provider. Providers that would need the network or run a
    command (container-role, assume-role, custom-process) are named from the configuration, not tried;
    the EC2 instance role cannot be seen without the network and is never reported.
    """

    is_present: bool
    method: str | None
    region: str | None
    problem: str | None


class DoctorReport(StrictModel):
    """Everything ``sqdr doctor`` has to say."""

    sqdr: str | None
    python: str
    platform: str
    n_cpus: int
    extras: tuple[ExtraReport, ...]
    gpu: GpuReport
    lava: LavaReport
    aws: AwsReport


def installed_version(name: str) -> str | None:
    """Return the installed version of distribution ``name``, or None if it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def examine(version_of: VersionOf = installed_version, lava_timeout_s: float = LAVA_TIMEOUT_S) -> DoctorReport:
    """Return what this machine can run.

    Args:
        version_of: looks a distribution's installed version up; None means that it is missing.
        lava_timeout_s: how long the process that tries to import Lava may take.
    """
    return DoctorReport(
        sqdr=version_of("sqdr"),
        python=platform.python_version(),
        platform=platform.platform(),
        n_cpus=_count_cpus(),
        extras=_examine_extras(version_of),
        gpu=_examine_gpu(version_of),
        lava=_examine_lava(lava_timeout_s),
        aws=_examine_aws(version_of),
    )


def _count_cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _examine_extras(version_of: VersionOf) -> tuple[ExtraReport, ...]:
    try:
        lines = importlib.metadata.requires("sqdr") or []
    except importlib.metadata.PackageNotFoundError:
        lines = []  # run from a checkout that was never installed
    reports = []
    for extra, enables in ENABLES.items():
        found = [_examine_requirement(line, extra, version_of) for line in lines]
        requirements = tuple(report for report in found if report is not None)
        # lava-nc does not work on a Python it was not made for, however it got there; lava-dl's SLAYER does.
        good = {"installed"} if extra == "lava" else {"installed", "installed by hand"}
        is_complete = bool(requirements) and all(report.status in good for report in requirements)
        reports.append(ExtraReport(name=extra, enables=enables, is_complete=is_complete, requirements=requirements))
    return tuple(reports)


def _examine_requirement(line: str, extra: str, version_of: VersionOf) -> RequirementReport | None:
    """Return the report on one requirement line of our metadata, or None if it is not of ``extra``."""
    requirement, _, marker = line.partition(";")
    clauses = [clause.strip(" ()") for clause in marker.split(" and ")]
    if not any(re.fullmatch(rf"""extra\s*==\s*["']{extra}["']""", clause) for clause in clauses):
        return None
    match = re.match(r"([A-Za-z0-9._-]+)\s*(?:\[[^\]]*\])?\s*\(?([^()]*)", requirement.strip())
    if match is None:
        return None
    name, required = match[1], match[2].strip()
    installed = version_of(name)
    is_for_this_python = all(_holds(clause) for clause in clauses)
    status: Status
    if installed is None:
        status = "missing" if is_for_this_python else "not for this Python"
    elif not _satisfies(installed, required):
        status = "other version"
    else:
        status = "installed" if is_for_this_python else "installed by hand"
    return RequirementReport(name=name, required=required, installed=installed, status=status)


def _holds(clause: str) -> bool:
    """Return whether a marker clause holds here: sqdr's own markers test the Python version only."""
    match = re.fullmatch(r"""python_version\s*(<=|>=|==|!=|<|>)\s*["']([0-9.]+)["']""", clause)
    return match is None or _compare(f"{sys.version_info[0]}.{sys.version_info[1]}", match[1], match[2])


def _satisfies(version: str, required: str) -> bool:
    """Return whether ``version`` is inside ``required``, a list like ``>=1.26,<3``."""
    clauses = re.findall(r"(<=|>=|==|!=|<|>)\s*([0-9.]+)", required)
    return all(_compare(version, sign, limit) for sign, limit in clauses)


def _compare(version: str, sign: str, limit: str) -> bool:
    compare = {
        "<": operator.lt,
        "<=": operator.le,
        "==": operator.eq,
        "!=": operator.ne,
        ">=": operator.ge,
        ">": operator.gt,
    }
    return bool(compare[sign](_release(version), _release(limit)))


def _release(version: str) -> list[int]:
    """Return the release numbers without closing zeros, so that 2.0 equals 2: '2.3.1+cu121' -> [2, 3, 1]."""
    match = re.match(r"\d+(?:\.\d+)*", version)
    numbers = [int(part) for part in match[0].split(".")] if match else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return numbers


def _examine_gpu(version_of: VersionOf) -> GpuReport:
    version = version_of("torch")
    nvcc = shutil.which("nvcc")
    if version is None:
        return GpuReport(torch=None, is_cuda_available=False, devices=(), nvcc=nvcc, problem="torch is not installed.")
    devices, problem = _ask_torch()
    if devices and nvcc is None:
        problem = "nvcc is not on PATH: lava-dl compiles its CUDA kernels with nvcc and ninja at first use."
    return GpuReport(torch=version, is_cuda_available=bool(devices), devices=devices, nvcc=nvcc, problem=problem)


def _ask_torch() -> tuple[tuple[str, ...], str | None]:
    """Return (names of the CUDA devices, what is in the way if there is none)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of an old driver; that shows as no device
        try:
            import torch

            if not torch.cuda.is_available():
                return (), "torch sees no CUDA device."
            return tuple(torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())), None
        except Exception as error:  # a broken installation raises anything: that is the finding
            return (), f"torch does not work: {_last_line(str(error)) or type(error).__name__}"


def _examine_lava(timeout_s: float) -> LavaReport:
    chosen = os.environ.get("SQDR_LAVA_PYTHON")
    interpreter = chosen or sys.executable
    if chosen is None and sys.version_info >= (3, 11):
        return _no_lava(interpreter, LAVA_NEEDS_310)
    # Lava needs none of the credentials, and its last words go into the report.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    try:
        done = subprocess.run(
            [interpreter, "-c", LAVA_PROBE],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return _no_lava(interpreter, f"importing it took more than {timeout_s:g} s.")
    except (OSError, ValueError) as error:
        return _no_lava(interpreter, f"SQDR_LAVA_PYTHON cannot be run: {error}.")
    if done.returncode != 0:
        reason = LAVA_NEEDS_310 if "ByteEncoder" in done.stderr else _last_line(done.stderr)
        return _no_lava(interpreter, reason or f"the import ended with status {done.returncode}.")
    try:
        return LavaReport(
            is_importable=True, interpreter=interpreter, problem=None, **json.loads(_last_line(done.stdout))
        )
    except (TypeError, ValueError):
        return _no_lava(interpreter, "its answer was not understood. Does SQDR_LAVA_PYTHON name a Python?")


def _no_lava(interpreter: str, problem: str) -> LavaReport:
    return LavaReport(is_importable=False, interpreter=interpreter, python=None, version=None, problem=problem)


def _last_line(text: str) -> str:
    return text.strip().splitlines()[-1].strip() if text.strip() else ""


def _examine_aws(version_of: VersionOf) -> AwsReport:
    if version_of("boto3") is None:
        return AwsReport(is_present=False, method=None, region=None, problem="boto3 is not installed.")
    try:
        with _no_instance_metadata():
            method, region = _ask_boto3()
    except Exception as error:
        # The kind only: botocore's messages quote the files they could not read.
        return AwsReport(is_present=False, method=None, region=None, problem=type(error).__name__)
    return AwsReport(is_present=method is not None, method=method, region=region, problem=None)


@contextmanager
def _no_instance_metadata() -> Iterator[None]:
    """Keep botocore from asking the EC2 metadata service, which would reach for the network."""
    name = "AWS_EC2_METADATA_DISABLED"
    before = os.environ.get(name)
    os.environ[name] = "true"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _ask_boto3() -> tuple[str | None, str | None]:
    """Return (name of the method that has credentials, region), neither fetched nor run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # boto3 warns of Pythons it will drop
        import boto3
        import botocore.session

        core = botocore.session.Session()
        resolver = core.get_component("credential_provider")
        for network_or_command in ("assume-role", "custom-process", "container-role", "iam-role"):
            resolver.remove(network_or_command)
        credentials = boto3.Session(botocore_session=core).get_credentials()
        method = credentials.method if credentials is not None else None
        return _with_untried(method, core.get_scoped_config()), core.get_config_variable("region")


def _with_untried(method: str | None, profile: dict[str, Any]) -> str | None:
    """Return ``method``, or the provider botocore would have used among those that were not tried."""
    if method != "env" and "role_arn" in profile and "web_identity_token_file" not in profile:
        return "assume-role"
    if method is None and "credential_process" in profile:
        return "custom-process"
    container: Sequence[str] = (
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    )
    if method is None and any(os.environ.get(name) for name in container):
        return "container-role"
    return method
