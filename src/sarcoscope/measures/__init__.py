"""Areas, HU statistics, protocols, indices, body information and quality flags."""
