"""Statistics of cohorts on plain arrays: proportions, regressions, survival, centiles."""
