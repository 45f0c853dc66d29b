"""Holdfast's benchmarks; `scripts/bench` runs them."""
