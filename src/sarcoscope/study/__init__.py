"""The analysis of one study."""

from sarcoscope.study.analysis import analyze, find_study_levels
from sarcoscope.study.result import StudyResult
from sarcoscope.study.settings import AnalysisSettings

__all__ = ["AnalysisSettings", "StudyResult", "analyze", "find_study_levels"]
