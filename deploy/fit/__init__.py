"""Whether a bundle fits a chip and a quantum device: every violation at once, with numbers and sources."""

from sqdr.deploy.fit.bundle_fit import fit_bundle
from sqdr.deploy.fit.report import FitReport

__all__ = ["FitReport", "fit_bundle"]
