"""A trained model, looked at from all sides, in one HTML file."""

from obverse.report.page import Mark
from obverse.report.write import Report, write

__all__ = ["Mark", "Report", "write"]
