"""The message catalogue (English and Korean) and the fonts."""
