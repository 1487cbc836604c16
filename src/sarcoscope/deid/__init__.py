"""De-identification by PS3.15 Annex E: engine, pseudonyms and mapping, join, way back, sharing."""
