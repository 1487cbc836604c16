"""One module a user task."""
