"""Builds llama-server out of the llama-cpp-python package; `python -m server.engines.build`.

One package gives the program and, where they are wanted, the Python bindings from the same commit
of llama.cpp. The built wheel stays in the user's cache: it takes minutes to make and a second to
unpack. `scripts/setup` is who runs this, from a checkout.
"""
