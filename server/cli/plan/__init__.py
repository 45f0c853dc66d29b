"""`holdfast plan`: what would run where, and why."""
