"""Holdfast: preserve, place and serve the Qwen3.5 family behind one OpenAI endpoint."""

__version__ = "0.1.0"
