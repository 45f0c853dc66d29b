"""Everything that is shipped in server/demo: weights in both formats, questions, card."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import PreTrainedTokenizerFast, Qwen3_5ForCausalLM

from scripts.demo import gguf_export
from scripts.demo.corpus import Fixed
from scripts.demo.training import Verdict, encode

GGUF = "demo.gguf"
FOLDER = "safetensors"
_FOR_VLLM = {
    "architectures": ["Qwen3_5ForCausalLM"],
    "attn_output_gate": True,
    # Without it vLLM keeps the recurrent state in bfloat16.
    "mamba_ssm_dtype": "float32",
}
"""Keys of Qwen3.5's own config.json that transformers does not write."""
_CARD_TEMPLATE = Path(__file__).with_name("card.md")


@dataclass(frozen=True, slots=True)
class Making:
    """How the model was made, for the card."""

    command: str
    seed: int
    steps: str
    """In words: how long it was trained."""
    versions: str


def write(
    out: Path,
    model: Qwen3_5ForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    questions: tuple[Fixed, ...],
    verdicts: list[Verdict],
    making: Making,
) -> None:
    """Fill the folder `out`; the weights must already be on the grid of both formats."""
    folder = out / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    gguf_export.write(out / GGUF, model, tokenizer)
    _write_safetensors(folder, model, tokenizer)
    rows = [_question(question, tokenizer) for question in questions]
    _write_json(out / "questions.json", rows)
    (out / "CARD.md").write_text(_card(out, model, verdicts, making), encoding="utf-8")


def _write_safetensors(
    folder: Path, model: Qwen3_5ForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    config = model.config.to_dict() | _FOR_VLLM
    config.pop("_name_or_path", None)
    _write_json(folder / "config.json", config)
    ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    _write_json(folder / "generation_config.json", ends)
    tokenizer.save_pretrained(folder)
    _name_tokenizer_class(folder / "tokenizer_config.json")
    # The head is the embedding (tied), so it is not stored a second time.
    tensors = {
        name: tensor.to(torch.bfloat16).contiguous()
        for name, tensor in model.state_dict().items()
        if name != "lm_head.weight"
    }
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)


def _name_tokenizer_class(path: Path) -> None:
    """Write the class name that every transformers release knows, not this release's own."""
    config = json.loads(path.read_text(encoding="utf-8"))
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    _write_json(path, config)


def _question(question: Fixed, tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    sample = question.sample
    return {
        "id": question.id,
        "thinking": sample.thinking,
        "messages": list(sample.messages),
        "tools": list(sample.tools),
        "completion": sample.completion,
        "reasoning": sample.reasoning if sample.thinking else None,
        "content": sample.content,
        "tool_calls": [
            {"name": call.name, "arguments": dict(call.arguments)} for call in sample.tool_calls
        ],
        "tokens": len(encode(sample, tokenizer)[1]),
        "ends": sample.ends,
    }


def _card(out: Path, model: Qwen3_5ForCausalLM, verdicts: list[Verdict], making: Making) -> str:
    files = (GGUF, f"{FOLDER}/model.safetensors", f"{FOLDER}/tokenizer.json", "questions.json")
    listing = "\n".join(
        f"| `{name}` | {_size(out / name)} | `{_digest(out / name)}` |" for name in files
    )
    template = _CARD_TEMPLATE.read_text(encoding="utf-8")
    return template.format(
        parameters=f"{model.num_parameters():,}",
        questions=len(verdicts),
        margin=f"{min(v.margin for v in verdicts):.1f}",
        probability=f"{min(v.probability for v in verdicts):.3f}",
        files=listing,
        command=making.command,
        seed=making.seed,
        steps=making.steps,
        versions=making.versions,
    )


def _size(path: Path) -> str:
    return f"{path.stat().st_size:,}"


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
