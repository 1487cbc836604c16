"""Sample CT: a parametric phantom, and real CT fetched from public packages."""
