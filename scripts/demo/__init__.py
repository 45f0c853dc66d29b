"""How the embedded demo model is made: knowledge -> samples -> training -> files.

- `knowledge.toml`: what the model knows; the only file to edit to teach it something
- `knowledge.py`: that file, parsed
- `sample.py`: one exchange to learn
- `tools.py`: conversations with the two tools
- `corpus.py`: fixed questions, and the endless stream of training samples
- `tokenizer.py`: a byte-level BPE vocabulary with Qwen3.5's splitting and special tokens
- `model.py`: the model's shape, and the grid of numbers that both file formats hold exactly
- `training.py`: batches, the training loop, exactness and margins
- `gguf_export.py`: checkpoint -> GGUF, after llama.cpp's own converter
- `package.py`: everything that is shipped in server/demo
"""
