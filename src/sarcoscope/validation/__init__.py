"""How good predictions are: the papers' tables, errors, agreement, and what differs by hospital."""
