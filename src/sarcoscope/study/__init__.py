"""The analysis of one study, from input to record."""
