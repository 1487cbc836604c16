"""Reading CT as hospitals give it: series choice, geometry, the Volume."""
