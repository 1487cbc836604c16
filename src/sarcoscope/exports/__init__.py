"""Everything that is written for a person or a program: JSON, CSV, NIfTI, pictures, PDF."""
