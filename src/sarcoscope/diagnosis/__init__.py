"""Reference sets, T-scores and statements."""
