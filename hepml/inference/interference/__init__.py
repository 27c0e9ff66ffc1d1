"""A signal that interferes with the background: from per-event ratios to intervals of µ."""
