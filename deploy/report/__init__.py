"""One HTML file that shows a model, its training and its runs: offline, and with what is missing named."""

from sqdr.deploy.report.build import SECTIONS, Report, ReportOptions, write_report

__all__ = ["SECTIONS", "Report", "ReportOptions", "write_report"]
