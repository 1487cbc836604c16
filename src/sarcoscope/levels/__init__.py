"""Which slices belong to which vertebral body."""
