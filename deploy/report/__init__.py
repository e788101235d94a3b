"""One HTML file that shows a model, its training and its runs: offline, and with what is missing named."""

from sqdr.deploy.report.build import SECTIONS, Report, write_report
from sqdr.deploy.report.options import ReportOptions

__all__ = ["SECTIONS", "Report", "ReportOptions", "write_report"]
