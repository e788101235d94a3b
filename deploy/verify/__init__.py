"""Prove the stages equal: the same samples through every backend that is installed here."""

from sqdr.deploy.verify.compare import compare_sampled, compare_spikes, compare_values
from sqdr.deploy.verify.report import Difference, VerifyReport, VerifyRow
from sqdr.deploy.verify.stages import verify_bundle, verify_images

__all__ = [
    "Difference",
    "VerifyReport",
    "VerifyRow",
    "compare_sampled",
    "compare_spikes",
    "compare_values",
    "verify_bundle",
    "verify_images",
]
