"""What must hold between values, and all problems told in one go."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from server.catalogue import Catalogue, File, Sampling, Serve, ServedModel, Store, Vision

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


TABLE = '\n[[serve.model]]\nname = "tiny"\n'


def test_what_is_served(whole: str, catalogue_of: Of) -> None:
    assert catalogue_of("").serve == Serve()
    written = (
        'weight = 3\ncontext = 2048\nslots = 2\nspeed = 8\npin = true\nengines = ["vllm"]\n'
        '[[serve.model]]\nname = "tiny:q4"\nttl = "0"\n'
        '[[serve.model]]\nname = "tiny:q8"\nttl = "never"\n'
    )
    more = 'models = "auto"\nkeep_alive = "30m"\npreload = ["tiny"]\nsleep = false'
    serve = catalogue_of(whole.replace('models = ["tiny:q4"]', more) + TABLE + written).serve
    assert (serve.models, serve.auto, serve.keep_alive) == ((), True, 1800.0)
    assert (serve.preload, serve.sleep) == (("tiny",), False)
    assert serve.model == (
        ServedModel("tiny", 3.0, 2048, 2, 8.0, True, 1800.0, ("vllm",)),
        ServedModel("tiny:q4", ttl=0.0),
        ServedModel("tiny:q8", ttl=None),
    )


def test_a_table_of_a_later_file_is_laid_over_that_of_its_name(
    whole: str, catalogue_of: Of
) -> None:
    below = whole + TABLE + "weight = 2\nslots = 4\n"
    above = TABLE + 'slots = 1\n[[serve.model]]\nname = "tiny:q8"\n'
    serve = catalogue_of(below, above, '[serve]\nkeep_alive = "never"').serve
    assert serve.models == ("tiny:q4",)
    assert serve.model == (ServedModel("tiny", weight=2.0, slots=1), ServedModel("tiny:q8"))


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("pin = true\nttl = 60", "serve.model[tiny].ttl = 60.0: cannot stand beside pin = true"),
        ("context = 4097", "serve.model[tiny].context = 4097: tiny takes 4096 tokens at most"),
        ("weight = 0", "serve.model[tiny].weight = 0: expected a number above 0"),
        ("speed = -1", "serve.model[tiny].speed = -1: expected a number from 0"),
        ("slots = 0", "serve.model[tiny].slots = 0: expected a whole number from 1 to 1024"),
        (
            "ttl = 'soon'",
            'serve.model[tiny].ttl = "soon": expected seconds or a text such as "30s"',
        ),
        ("ttl = 'soon'", 'from 0 ms to 30d 00h, or "never"'),
        ("engines = []", "serve.model[tiny].engines must name at least one engine"),
        ("engines = ['vlm']", 'expected one of llama-server, vllm. Did you mean "vllm"'),
        ("engines = ['vllm', 'vllm']", "must name at least one engine, and none twice"),
        ("pinned = true", "serve.model[tiny].pinned is not a known key. Did you mean"),
        ("[[serve.model]]\nname = 'tiny'", "serve.model[tiny] stands twice"),
        ("[[serve.model]]\npin = true", "serve.model[1] has no name"),
        ("[[serve.model]]\nname = 'tinny'", 'serve.model[tinny].name = "tinny": no such model'),
        ("[[serve.model]]\nname = 'tiny:q5'", '= "tiny:q5": no such build. Did you mean "tiny:q'),
        (
            "[[serve.model]]\nname = 'tiny:q4'\nengines = ['vllm']",
            'engines = ["vllm"]: tiny:q4 has no build for that, only for llama-server',
        ),
        (
            "embeddings = true\nengines = ['vllm']\n[[build]]\nmodel = 'tiny'\nid = 'bf16'\n"
            "engine = 'vllm'\nformat = 'safetensors'\nquant = 'BF16'\nrepository = 'o/t'",
            "engines must have llama-server for embeddings",
        ),
        (
            "[[serve.model]]\nname = 'tiny:bf16'\nembeddings = true\n[[build]]\nmodel = 'tiny'\n"
            "id = 'bf16'\nengine = 'vllm'\nformat = 'safetensors'\nquant = 'BF16'\n"
            "repository = 'o/t'",
            "serve.model[tiny:bf16].embeddings = true: tiny:bf16 has no build for llama-server",
        ),
    ],
)
def test_problems_of_what_is_served(
    whole: str, problems_of: Problems, written: str, told: str
) -> None:
    (problem,) = problems_of(whole + TABLE + written)
    assert problem.startswith("0.toml: ")
    assert told in problem


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ('models = "all"', 'serve.models = "all": expected a list of model names'),
        ('models = "all"', 'or "auto"'),
        ('models = ["tiny", "tiny"]', "serve.models names a model twice"),
        ('preload = ["tiny:q5"]', 'serve.preload = "tiny:q5": no such build'),
        ('preload = ["tiny", "tiny"]', "serve.preload names one twice"),
        ('sleep = "yes"', 'serve.sleep = "yes": expected true or false'),
        ('keep_alive = "31d"', 'serve.keep_alive = "31d": expected seconds'),
    ],
)
def test_problems_of_serve(whole: str, problems_of: Problems, key: str, told: str) -> None:
    (problem,) = problems_of(whole.replace('models = ["tiny:q4"]', key))
    assert told in problem


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
