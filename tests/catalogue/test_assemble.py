"""What must hold between values, and all problems told in one go."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from server.catalogue import Catalogue, File, Sampling, Serve, Store, Vision

Problems = Callable[..., list[str]]
Of = Callable[..., Catalogue]


def test_a_whole_file(whole: str, catalogue_of: Of, tmp_path: Path) -> None:
    catalogue = catalogue_of(whole)
    assert catalogue.serve == Serve(port=8100, queue_timeout=90.0, models=("tiny:q4",))
    model = catalogue.models["tiny"]
    assert (model.title, model.context, model.licence) == ("tiny", 4096, "apache-2.0")
    assert model.sampling["thinking"] == Sampling(temperature=0.6, top_p=0.95)
    assert model.architecture.vision == Vision(depth=2, hidden=64, heads=4, ffn=128)
    assert (model.architecture.full_layers, model.architecture.linear_layers) == (2, 6)
    q4, q8, local = model.builds
    assert (q4.name, q4.bytes, q4.mmproj) == ("tiny:q4", 1000, File("mmproj-F16.gguf", 500))
    assert (q4.repository, q4.unknown, q4.complete) == ("someone/Tiny-GGUF", ("sha256",), False)
    assert [file.path for file in q8.files] == [
        "Q8/tiny-00001-of-00002.gguf",
        "Q8/tiny-00002-of-00002.gguf",
    ]
    assert q8.bytes == 2010
    assert (local.path, local.complete) == (tmp_path / "weights/tiny", True)
    assert model.build("q8") is q8
    assert model.build("q9") is None


def test_a_path_from_home_or_root(whole: str, catalogue_of: Of) -> None:
    for written, meant in {"~/a.gguf": Path.home() / "a.gguf", "/a.gguf": Path("/a.gguf")}.items():
        catalogue = catalogue_of(whole.replace("weights/tiny", written))
        assert catalogue.models["tiny"].builds[-1].path == meant


def test_the_store(catalogue_of: Of) -> None:
    assert catalogue_of("").store == Store()
    told = catalogue_of(
        '[store]\nmin_copies = 1\njobs = 4\nlimit_rate = "50MB"\nhub = "http://box/hf"',
        '[store]\nmin_copies = 2\ncopies = ["/mnt/nas"]\nwindow = "01:00-06:00"\nreserve = 0',
        '[store]\nsources = ["modelscope"]',
    ).store
    assert told == Store(
        copies=("/mnt/nas",),
        min_copies=2,
        jobs=4,
        limit_rate=50_000_000,
        window="01:00-06:00",
        reserve=0,
        sources=("modelscope",),
        hub="http://box/hf",
    )


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("min_copies = 2", "0.toml: store.min_copies = 2: is more than the store itself"),
        ('copies = ["/a", "/a"]', "0.toml: store.copies names a place twice"),
        ("sources = []", "0.toml: store.sources must name at least one source"),
        ('sources = ["modelscope", "modelscope"]', "store.sources must name at least one source"),
        (
            'sources = ["modlescope"]',
            'expected one of huggingface, modelscope. Did you mean "modelsc',
        ),
        ("jobs = 0", "0.toml: store.jobs = 0: expected a whole number from 1 to 64"),
        ('copys = ["/a"]', 'store.copys is not a known key. Did you mean "copies"'),
        ('window = "always"', '0.toml: store.window = "always": expected hours such as'),
    ],
)
def test_problems_of_the_store(problems_of: Problems, line: str, problem: str) -> None:
    (told,) = problems_of(f"[store]\n{line}")
    assert problem in told


def test_an_empty_file_says_nothing(catalogue_of: Of) -> None:
    catalogue = catalogue_of("")
    assert (dict(catalogue.models), catalogue.serve) == ({}, Serve())


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("kv_heads = 2", "kv_heads = 3", "model[tiny].architecture.kv_heads = 3: must divide"),
        (
            "linear_key_heads = 2",
            "linear_key_heads = 3",
            "model[tiny].architecture.linear_key_heads = 3: must divide linear_value_heads",
        ),
        (
            "layers = 8",
            "layers = 3",
            "family.tinies.architecture.full_attention_interval = 4: must not exceed layers",
        ),
        ("hidden = 64, heads = 4", "hidden = 64, heads = 5", "vision.heads = 5: must divide hid"),
        ("ffn = 448", "", 'family.tinies.architecture.kind = "qwen3_5": needs ffn'),
        ("ffn = 448", "ffn = 448\nexperts = 4", "experts = 4: cannot stand beside kind = "),
        (
            'kind = "qwen3_5"',
            'kind = "qwen3_5_moe"',
            "needs experts, experts_per_token, moe_ffn, shared_ffn",
        ),
        ('like = "tinies"', "", "model[tiny] has no context, thinking_default, sampling, licence"),
        ('like = "tinies"', "", "model[tiny].architecture has no kind, head_dim, full_attention_"),
        ("sampling.non_thinking", "sampling.thinking_vision", "must have both thinking and non_th"),
        ('engine = "vllm"', 'engine = "llama-server"', 'format = "safetensors": does not suit'),
        ('format = "gguf"', 'format = "safetensors"', "does not suit the engine"),
        ('path = "weights/tiny"', "", "build[tiny:local] has neither repository nor path"),
        (
            'path = "weights/tiny"',
            'path = "weights/tiny"\nrepository = "a/b"',
            'build[tiny:local].repository = "a/b": cannot stand beside path',
        ),
        ('path = "tiny-Q4.gguf"', 'path = "tiny-Q4.bin"', "must all have the format's name"),
        (
            'quant = "Q4"',
            'quant = "Q4"\nbytes = 7',
            "repository[someone/Tiny-GGUF].builds[q4].bytes = 7: is not the sum of the files",
        ),
        (
            'quant = "Q4"',
            'quant = "Q4"\nbytes = 1000\ntensor_bytes = 1001',
            "tensor_bytes = 1001: must not exceed bytes",
        ),
        (
            'quant = "Q4"\nfiles = [{',
            'quant = "Q4"\nfiles = [{ path = "tiny-Q4.gguf" }, {',
            "builds[q4].files names a path twice",
        ),
        ('model = "tiny"\nid', 'model = "tinny"\nid', '= "tinny": no such model. Did you mean "ti'),
        ('"tiny:q4"', '"tinny"', '0.toml: serve.models = "tinny": no such model. Did you mean'),
        ('"tiny:q4"', '"tiny:q5"', 'serve.models = "tiny:q5": no such build. Did you mean "tiny:q'),
        ("port = 8100", "context = 4097", "serve.context = 4097: tiny takes 4096 tokens at most"),
    ],
)
def test_problems(whole: str, problems_of: Problems, old: str, new: str, expected: str) -> None:
    assert old in whole
    problems = problems_of(whole.replace(old, new, 1))
    assert [problem for problem in problems if expected in problem], problems
    assert all(problem.startswith("0.toml: ") for problem in problems)


def test_every_problem_is_told_at_once(whole: str, problems_of: Problems) -> None:
    text = whole.replace("port = 8100", "prot = 1").replace("kv_heads = 2", "kv_heads = 3")
    over = '[[build]]\nmodel = "tinny"\nid = "x"\nrevision = "main"\n[[model'
    more = '[serve]\nport = "x"\nmodels = ["none"]'
    problems = problems_of(text, over, more)
    starts = [
        "0.toml: serve.prot is not a known key",
        "1.toml:5:8: ",
        '2.toml: serve.port = "x": ',
        "0.toml: model[tiny].architecture.kv_heads = 3: must divide heads",
        '2.toml: serve.models = "none": no such model',
    ]
    assert len(problems) == len(starts)
    for problem, start in zip(problems, starts, strict=True):
        assert problem.startswith(start)


def test_a_familys_mistake_is_told_once(whole: str, problems_of: Problems) -> None:
    two = whole + '\n[[model]]\nid = "tiny2"\nlike = "tiny"\n'
    problems = problems_of(two.replace("interval = 4", "interval = 400"))
    assert len(problems) == 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("kv_heads = 2", 'kv_heads = "x"'),
        ('engine = "vllm"', 'engine = "vlm"'),
        ('kind = "qwen3_5"', 'kind = "qwen3_6"'),
        ('quant = "Q4"', "quant = 4"),
        ("context = 4096", "context = -1"),
        ('path = "tiny-Q4.gguf"', 'path = "/tiny-Q4.gguf"'),
        ('path = "weights/tiny"', 'path = "../tiny"'),
    ],
)
def test_a_refused_value_is_not_also_missing_or_unfit(
    whole: str, problems_of: Problems, old: str, new: str
) -> None:
    assert len(problems_of(whole.replace(old, new, 1))) == 1


def test_values_from_two_files_name_both(whole: str, problems_of: Problems) -> None:
    over = '[[model]]\nid = "tiny"\narchitecture.kv_heads = 3'
    (problem,) = problems_of(whole, over)
    assert problem.startswith("1.toml: model[tiny].architecture.kv_heads = 3: must divide heads")
    assert problem.endswith("0.toml)")
    assert "(heads = 4 stands in " in problem
