"""Cloud APIs: their protocols (pure), and the one way out (`egress.py`)."""
