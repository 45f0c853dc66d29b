"""What is wrong with the tables of the router and of clouds, each told in full."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from server.catalogue import Catalogue
from server.errors import ConfigError
from server.units import USD

Problems = Callable[..., list[str]]

BASE = """
[[alias]]
name = "auto"
candidates = ["*"]

[task.coding]
benchmarks = { gpqa = 1 }

[[team]]
id = "research"

[[provider]]
id = "acme"
kind = "openai"
url = "https://api.acme.example/v1"

[[cloud]]
id = "acme/big"
context = 128_000
max_output = 8_000
price = { input = "1 USD/1M", output = "4 USD/1M" }
"""

ROUTE = '[[route]]\nid = "r"\n'
ALIAS = '[[alias]]\nname = "mine"\n'
PROVIDER = '[[provider]]\nid = "p"\nkind = "gemini"\nurl = "https://p.example"\n'
CLOUD = '[[cloud]]\nid = "acme/x"\ncontext = 1000\nmax_output = 100\n'
PRICE = 'price = { input = "1 USD/1M", output = "2 USD/1M" }\n'

CACHING = 'price = { input = "1 USD/1M", KEY = "1 USD/1M", output = "2 USD/1M", tiers = [TIER] }\n'
TIER = '{ above = 9, input = "3 USD/1M", output = "5 USD/1M" }'
DEAR = TIER.replace("{", '{ cached_input = "4 USD/1M",')
CHEAPER = (
    "has a tier that is cheaper than the prices below it; a later file's price keeps the earlier "
    "file's tiers: give tiers too, or tiers = []"
)
NAMES = "auto, tiny, acme/big"
CANDIDATES = f"local, cloud, *, acme/*, {NAMES}"


ROUTER_TABLE = [
    (
        '[router]\npolicy = "cheap"',
        'router.policy = "cheap": expected one of cheapest, fastest, most-capable, local-only. '
        'Did you mean "cheapest"?',
    ),
    (
        '[router]\npolicy = "weighted"',  # weights stand in a route
        'router.policy = "weighted": expected one of cheapest, fastest, most-capable, local-only',
    ),
    ('[router]\ncloud = "no"', 'router.cloud = "no": expected true or false'),
    (
        '[router]\nslo_ttft = "soon"',
        'router.slo_ttft = "soon": expected seconds or a text such as "30s" or "5m", '
        "from 1 ms to 1d 00h",
    ),
    ("[router]\nretries = 11", "router.retries = 11: expected a whole number from 0 to 10"),
    ("[router]\nretry_budget = 1.5", "router.retry_budget = 1.5: expected a number from 0 to 1"),
    (
        "[router]\nbreaker_failures = 0",
        "router.breaker_failures = 0: expected a whole number from 1 to 1000",
    ),
    (
        '[router]\nhedge_after = "2m"\nfirst_token_timeout = "1m"',
        "router.hedge_after = 2m 00s: must be shorter than first_token_timeout, or nothing is ever "
        "hedged",
    ),
    ("[router]\nhedge = 1", 'router.hedge is not a known key. Did you mean "hedge_after"?'),
    (
        "[router]\nlimits = { day = 5 }",
        'router.limits.day = 5: expected an amount with its unit, such as "5 USD"',
    ),
    (
        '[router]\nlimits = { day = "5 EUR" }',
        'router.limits.day = "5 EUR": expected an amount with its unit, such as "5 USD"',
    ),
    (
        '[router]\nlimits = { day = "5 USD", month = "4 USD" }',
        "router.limits.day = $5.00: is more than the month's",
    ),
    (
        "[router]\nlimits = { rpm = 0 }",
        "router.limits.rpm = 0: expected a whole number from 1 to 1000000000",
    ),
    (
        '[router]\nlimits = { month = "0.0000000001 USD" }',
        "router.limits.month = \"0.0000000001 USD\": '0.0000000001 USD' has parts of a "
        "nano-dollar: at most 9 decimals",
    ),
    (
        '[router]\nlimits = { month = "2,000,000,000 USD" }',
        'router.limits.month = "2,000,000,000 USD": expected at most $1,000,000,000.00',
    ),
    (
        '[[team]]\nid = "sales"\nlimits = { tokens_day = 10, tokens_month = 9 }',
        "team[sales].limits.tokens_day = 10: is more than the month's",
    ),
    (
        '[[team]]\nid = "sales"\nname = "Sales"',
        "team[sales].name is not a known key. Keys: id, limits",
    ),
]

ROUTER_TABLE += [
    (
        '[router]\nrequest_log = { key = { env = "COLLECTOR" } }',
        "router.request_log has no url",
    ),
    (
        '[router]\nrequest_log = { url = "https://collector.example", key = {} }',
        "router.request_log.key names nothing: give env, file or credential",
    ),
    (
        '[router]\nrequest_log = "https://user:hunter2@collector.example"',
        "router.request_log expected a table with url, key",
    ),
]

VECTORS = "".join(
    (CLOUD + PRICE).replace("acme/x", f"acme/{name}") + "embeddings = true\n"
    for name in ("small", "large")
)

ALIASES = [
    (
        ALIAS + 'candidates = ["acme/small", "acme/large"]\n' + VECTORS,
        "alias[mine].candidates: acme/small and acme/large make vectors that cannot be compared. "
        "Name one",
    ),
    (ALIAS, "alias[mine] has no candidates"),
    (ALIAS + "candidates = []", "alias[mine].candidates must name at least one, and none twice"),
    (
        ALIAS + 'candidates = ["tiny", "tiny"]',
        "alias[mine].candidates must name at least one, and none twice",
    ),
    (
        ALIAS + 'candidates = ["tinny"]',
        'alias[mine].candidates = "tinny": stands for nothing. Did you mean "tiny" or "tiny:q8" '
        'or "tiny:q4"?',
    ),
    (
        ALIAS + 'candidates = ["zzz"]',
        f'alias[mine].candidates = "zzz": stands for nothing. Candidates: {CANDIDATES}'.replace(
            "auto, tiny", "auto, mine, tiny"
        ),
    ),
    (
        ALIAS + 'candidates = ["acne/*"]',
        'alias[mine].candidates = "acne/*": stands for nothing. Did you mean "acme/*"?',
    ),
    (
        ALIAS + 'candidates = ["tiny*"]',
        'alias[mine].candidates = ["tiny*"]: expected a model, build, alias, "PROVIDER/*", '
        '"local", "cloud" or "*"',
    ),
    (
        '[[alias]]\nname = "tiny"\ncandidates = ["*"]',
        'alias[tiny].name = "tiny": would hide the model of that name',
    ),
    (
        '[[alias]]\nname = "tiny:q4"\ncandidates = ["*"]',
        'alias[tiny:q4].name = "tiny:q4": would hide the build of that name',
    ),
    (
        '[[alias]]\nname = "acme/big"\ncandidates = ["*"]',
        'alias[acme/big].name = "acme/big": would hide the cloud model of that name',
    ),
    (
        '[[alias]]\nname = "*"\ncandidates = ["tiny"]',
        'alias[*].name = "*": expected a name such as "auto" or "openai/gpt-5"',
    ),
    (
        ALIAS + 'candidates = ["*"]\npolicy = "weighted"',
        'alias[mine].policy = "weighted": expected one of cheapest, fastest, most-capable, '
        "local-only",
    ),
    (
        ALIAS + 'candidates = ["*"]\nfloor = 101',
        "alias[mine].floor = 101: expected a number from 0 to 100",
    ),
    (
        ALIAS + 'candidates = ["*"]\ntask = "codding"',
        'alias[mine].task = "codding": no such task. Did you mean "coding"?',
    ),
    (
        ALIAS + 'candidates = ["yours"]\n[[alias]]\nname = "yours"\ncandidates = ["tiny", "mine"]',
        "alias[mine].candidates: leads in a circle, mine -> yours -> mine",
    ),
    (
        ALIAS + 'candidates = ["mine"]',
        "alias[mine].candidates: leads in a circle, mine -> mine",
    ),
]

TASKS = [
    ("[task.maths]\nfloor = 5", "task.maths has no benchmarks"),
    ("[task.maths]", "task.maths has no benchmarks"),
    ("[task]\nmaths = 5", "task.maths = 5: expected a table"),
    (
        "[task.maths]\nbenchmarks = {}",
        "task.maths.benchmarks must weigh at least one benchmark above 0",
    ),
    (
        "[task.maths]\nbenchmarks = { gpqa = 0 }",
        "task.maths.benchmarks must weigh at least one benchmark above 0",
    ),
    (
        "[task.maths]\nbenchmarks = { aime = 1 }",
        "task.maths.benchmarks.aime is not a known key: expected one of mmlu_pro, mmlu_redux, "
        "gpqa, supergpqa, ifeval, aa_lcr, bfcl_v4, tau2, mmmlu",
    ),
    (
        "[task.maths]\nbenchmarks = { gpqa = -1 }",
        "task.maths.benchmarks.gpqa = -1: expected a number from 0 to 1e+06",
    ),
    (
        "[task.maths]\nbenchmarks = { gpqa = 1 }\nfloor = -1",
        "task.maths.floor = -1: expected a number from 0 to 100",
    ),
    (
        "[task.Maths]\nbenchmarks = { gpqa = 1 }",
        "task.Maths is not a known key: expected lower-case letters, digits, '.', '_' and '-'",
    ),
]

ROUTES = [
    (
        ROUTE + "when = { min_tokens = 10, max_tokens = 9 }",
        "route[r].when.min_tokens = 10: is more than max_tokens: no prompt is as long as that",
    ),
    (
        ROUTE + 'when = { hours = "06:00-06:00" }',
        'route[r].when.hours = "06:00-06:00": expected an end other than the beginning',
    ),
    (
        ROUTE + 'when = { hours = "6-22" }',
        'route[r].when.hours = "6-22": expected hours such as "01:00-06:00"',
    ),
    (
        ROUTE + 'when = { tasks = ["codding"] }',
        'route[r].when.tasks = "codding": no such task. Did you mean "coding"?',
    ),
    (
        ROUTE + 'when = { teams = ["sales"] }',
        'route[r].when.teams = "sales": no such team. Teams: research',
    ),
    (
        ROUTE + 'when = { models = ["small-*"] }',
        f'route[r].when.models = "small-*": nothing has such a name. Names: {NAMES}',
    ),
    (
        ROUTE + "when = { models = [] }",
        "route[r].when.models must name at least one, and none twice",
    ),
    (
        ROUTE + 'when = { keys = [""] }',
        'route[r].when.keys = [""]: expected a name, or a pattern such as "qwen3.5-*"',
    ),
    (
        ROUTE + 'when = { headers = { X-From = "crm" } }',
        "route[r].when.headers.X-From is not a known key: expected a header's name in lower case",
    ),
    (
        ROUTE + 'when = { headers = { authorization = "Bearer hunter2" } }',
        "route[r].when.headers.authorization is not a known key: it carries a secret; "
        "keys = [...] matches API keys by their ids",
    ),
    *(
        (
            ROUTE + f'when = {{ headers = {{ x-from = "{value}" }} }}',
            f'route[r].when.headers.x-from = "{value}": expected printable ASCII without blanks '
            "around it, at most 200 characters",
        )
        for value in (" crm", "crm ", "Büro", "")
    ),
    (
        ROUTE + "when = { max_tokens = 0 }",
        "route[r].when.max_tokens = 0: expected a whole number from 1 to 1000000000",
    ),
    (
        ROUTE + "when = { image = true }",
        'route[r].when.image is not a known key. Did you mean "images"?',
    ),
    (
        ROUTE + 'when = { images = "yes" }',
        'route[r].when.images = "yes": expected true or false',
    ),
    (
        ROUTE + 'candidates = ["acme/bug"]',
        'route[r].candidates = "acme/bug": stands for nothing. Did you mean "acme/big" or '
        '"acme/*"?',
    ),
    (
        ROUTE + 'fallbacks = ["none"]',
        f'route[r].fallbacks = "none": stands for nothing. Candidates: {CANDIDATES}',
    ),
    (
        ROUTE + 'policy = "weighted"\ncandidates = ["tiny"]',
        'route[r].policy = "weighted": needs weights',
    ),
    (
        ROUTE + 'policy = "weighted"\nweights = { tiny = 1 }',
        'route[r].policy = "weighted": needs candidates',
    ),
    (
        ROUTE + 'candidates = ["tiny"]\nweights = { tiny = 1 }',
        'route[r].weights.tiny: weights are for policy = "weighted" only',
    ),
    (
        ROUTE + 'policy = "weighted"\ncandidates = ["tiny"]\nweights = { tiny = 0 }',
        "route[r].weights.tiny = 0.0: no weight of the route is above 0",
    ),
    (
        ROUTE
        + 'policy = "weighted"\ncandidates = ["tiny"]\nweights = { tiny = 1, "acme/big" = 1 }',
        "route[r].weights.acme/big: is not among the route's candidates. Candidates: tiny",
    ),
    (
        ROUTE + 'policy = "weighted"\ncandidates = ["auto"]\nweights = { auto = 1 }',
        'route[r].weights.auto: an alias has no weight of its own: name what it stands for, "*"',
    ),
    (
        ROUTE + 'policy = "random"',
        'route[r].policy = "random": expected one of cheapest, fastest, most-capable, '
        "local-only, weighted",
    ),
    (
        ROUTE + 'canary = { model = "tiny", percent = 101 }',
        "route[r].canary.percent = 101: expected a number from 0 to 100",
    ),
    (ROUTE + 'canary = { model = "tiny" }', "route[r].canary has no percent"),
    (
        ROUTE + 'canary = { model = "auto", percent = 1 }',
        'route[r].canary.model = "auto": a canary is one model. Models: tiny, acme/big',
    ),
    (
        ROUTE + 'shadow = { model = "tinny", percent = 1 }',
        'route[r].shadow.model = "tinny": no such model. Did you mean "tiny" or "tiny:q8" or '
        '"tiny:q4"?',
    ),
    (
        ROUTE + 'shadow = { model = "acme/big", percent = 1 }',
        'route[r].shadow.model = "acme/big": needs day, what it may cost, such as "1 USD"',
    ),
    (
        ROUTE + 'shadow = { model = "acme/big", percent = 1, day = "1" }',
        'route[r].shadow.day = "1": expected an amount with its unit, such as "5 USD"',
    ),
    (
        ROUTE + 'local_only = true\ncanary = { model = "acme/big", percent = 1 }',
        'route[r].canary.model = "acme/big": leads to a cloud, and the route is local-only',
    ),
    (
        ROUTE + 'local_only = true\nshadow = { model = "acme/big", percent = 1, day = "1 USD" }',
        'route[r].shadow.model = "acme/big": leads to a cloud, and the route is local-only',
    ),
    (
        ROUTE + 'policy = "local-only"\nfallbacks = ["acme/*"]',
        'route[r].fallbacks = "acme/*": leads to a cloud, and the route is local-only',
    ),
    (
        ROUTE + 'local_only = true\ncandidates = ["mine"]\n' + ALIAS + 'candidates = ["cloud"]',
        'route[r].candidates = "mine": leads to a cloud by "cloud", and the route is local-only',
    ),
    (
        ROUTE + '[[route]]\nid = "s"\nwhen = { images = true }',
        "route[s] can never be reached: route[r] before it takes all its requests",
    ),
    (
        ROUTE + 'when = { models = ["tiny"] }\n'
        '[[route]]\nid = "s"\nwhen = { models = ["tiny:q4"], images = true }',
        "route[s] can never be reached: route[r] before it takes all its requests",
    ),
    (
        '[[route]]\nid = "Night"',
        "route[Night].id = \"Night\": expected lower-case letters, digits, '.', '_' and '-'",
    ),
    (ROUTE + ROUTE, "route[r] stands twice"),
    ("[[route]]\nlocal_only = true", "route[0] has no id"),
    ("[route]\nid = 1", 'route = {"id": 1}: expected an array of tables, [[route]]'),
]

CLOUDS = [
    ('[provider]\nkey = "sk-hunter2"', "provider expected an array of tables, [[provider]]"),
    (
        'provider = ["sk-hunter2"]',
        "provider[0] expected a table with id, kind, url, key, zero_retention, rpm, tpm, "
        "concurrency",
    ),
    ('[[provider]]\nid = "p"', "provider[p] has no kind, url"),
    (
        '[[provider]]\nid = "p"\nkind = "openai-chat"\nurl = "https://p.example"',
        'provider[p].kind = "openai-chat": expected one of openai, openai-responses, anthropic, '
        'gemini. Did you mean "openai"?',
    ),
    (
        PROVIDER.replace("https", "http"),
        'provider[p].url = "http://p.example": expected https: http is for addresses of this '
        "machine only",
    ),
    (
        PROVIDER.replace("https://p.example", "p.example"),
        'provider[p].url = "p.example": expected an address such as "https://api.openai.com/v1"',
    ),
    (
        PROVIDER.replace("p.example", "p.example/?key=hunter2"),
        'provider[p].url expected an address such as "https://api.openai.com/v1", without a '
        'user, "?" or "#"',
    ),
    (PROVIDER + "key = {}", "provider[p].key names nothing: give env, file or credential"),
    (
        PROVIDER + 'key = "sk-hunter2"',
        "provider[p].key expected a table with env, file, credential",
    ),
    (
        PROVIDER + 'key = { env = "sk-hunter2" }',
        "provider[p].key.env expected the name of an environment variable such as "
        '"OPENAI_API_KEY"; the key itself does not belong into a configuration file',
    ),
    (
        PROVIDER + 'key = { file = "sk-hunter2" }',
        'provider[p].key.file expected the path of a file, from the root or from "~/"',
    ),
    (
        PROVIDER + 'key = { credential = "AIzaHunter2" }',
        "provider[p].key.credential expected the name of a systemd credential, in lower case, "
        'such as "openai.key"',
    ),
    (
        PROVIDER + 'api_key = "hunter2"',
        'provider[p].api_key is not a known key. Did you mean "key"?',
    ),
    (PROVIDER + "tpm = -1", "provider[p].tpm = -1: expected a whole number from 1 to 1000000000"),
    (
        (CLOUD + PRICE).replace("acme/x", "acne/x"),
        'cloud[acne/x].id = "acne/x": no such provider, "acne". Did you mean "acme"?',
    ),
    (
        (CLOUD + PRICE).replace("acme/x", "x"),
        'cloud[x].id = "x": expected PROVIDER/NAME, such as "openai/gpt-5"',
    ),
    (CLOUD, "cloud[acme/x] has no price"),
    (CLOUD + 'price = { input = "1 USD/1M" }', "cloud[acme/x].price has no output"),
    (
        CLOUD + 'price = { input = 1.0, output = "2 USD/1M" }',
        'cloud[acme/x].price.input = 1.0: expected a price with its unit, such as "0.40 USD/1M" '
        "for a million tokens",
    ),
    (
        CLOUD + 'price = { input = "1 USD", output = "2 USD/1M" }',
        'cloud[acme/x].price.input = "1 USD": expected a price with its unit, such as '
        '"0.40 USD/1M" for a million tokens',
    ),
    (
        CLOUD + 'price = { input = "1 USD/1K", output = "2 USD/1M" }',
        'cloud[acme/x].price.input = "1 USD/1K": expected a price with its unit, such as '
        '"0.40 USD/1M" for a million tokens',
    ),
    (
        CLOUD + PRICE.replace("output", 'cached_input = "1.01 USD/1M", output'),
        "cloud[acme/x].price.cached_input = 1.01 USD/1M: is more than input: what is cached is "
        "never dearer",
    ),
    (
        CLOUD + PRICE.replace(" }", ', tiers = [{ above = 9, input = "1 USD/1M" }] }'),
        "cloud[acme/x].price.tiers[0] has no output",
    ),
    (
        CLOUD + PRICE.replace(" }", f", tiers = [{TIER}, {TIER}] }}"),
        "cloud[acme/x].price.tiers must have tiers by above, smallest first",
    ),
    (
        CLOUD + PRICE.replace(" }", f", tiers = [{DEAR}] }}"),
        "cloud[acme/x].price.tiers has a tier whose cached_input is more than its input",
    ),
    *(
        (
            CLOUD + CACHING.replace("KEY", key).replace("TIER", TIER),
            f"cloud[acme/x].price.tiers has a tier without {key}, which the prices below it have",
        )
        for key in ("cached_input", "cache_write")
    ),
    *(
        (
            CLOUD + PRICE.replace(" }", f", tiers = [{', '.join(tiers)}] }}"),
            f"cloud[acme/x].price.tiers {CHEAPER}",
        )
        for tiers in (
            [TIER.replace("3 USD", "0.99 USD")],
            [TIER.replace("5 USD", "1.99 USD")],
            [TIER, TIER.replace("9", "99").replace("3 USD", "2 USD")],
            [TIER, TIER.replace("9", "99").replace("5 USD", "4 USD")],
        )
    ),
    (
        (CLOUD + PRICE).replace("max_output = 100\n", "max_output = 1001\n"),
        "cloud[acme/x].max_output = 1001: must not exceed context",
    ),
    (
        CLOUD + PRICE + 'features = ["vision"]',
        'cloud[acme/x].features = ["vision"]: expected one of tools, parallel_tools, '
        "tool_choice, schema, json, thinking, logprobs, n, seed, stop, temperature, top_k, "
        'penalties, logit_bias. Did you mean "json"?',
    ),
    (
        CLOUD + PRICE + 'embeddings = true\nfeatures = ["tools"]',
        "cloud[acme/x].features cannot stand beside embeddings = true",
    ),
    (
        PROVIDER.replace("gemini", "anthropic")
        + (CLOUD + PRICE).replace("acme/x", "p/x")
        + "embeddings = true",
        'cloud[p/x].embeddings = true: p is of kind "anthropic", which makes no embeddings here. '
        "Kinds that make them are openai, openai-responses, gemini",
    ),
    (
        CLOUD + PRICE + 'efforts = ["high", "low"]',
        "cloud[acme/x].efforts must be in the order none, minimal, low, medium, high, xhigh, "
        "max, and none twice",
    ),
    (
        CLOUD + PRICE + "thinking_budget = [9, 1]",
        "cloud[acme/x].thinking_budget = [9, 1]: expected two whole numbers from 0 to "
        "100000000, the smaller first",
    ),
    (
        CLOUD + PRICE + "scores = { gpqa = 101 }",
        "cloud[acme/x].scores.gpqa = 101: expected a number from 0 to 100",
    ),
    (
        CLOUD + PRICE + 'retires = "soon"',
        'cloud[acme/x].retires = "soon": expected a date such as 2026-03-02',
    ),
    (
        CLOUD + PRICE + "speed = 0",
        "cloud[acme/x].speed = 0: expected a number above 0 and at most 1e+06",
    ),
]


@pytest.mark.parametrize(("written", "told"), [*ROUTER_TABLE, *ALIASES, *TASKS, *ROUTES, *CLOUDS])
def test_the_one_problem_is_told(
    whole: str, problems_of: Problems, written: str, told: str
) -> None:
    problems = problems_of(whole + BASE, written)
    assert [problem.replace("1.toml: ", "", 1) for problem in problems] == [told]


OVER = '[[cloud]]\nid = "openai/gpt-6-luna"\nprice = { input = "1 USD/1M", output = "5 USD/1M" }\n'


def test_a_later_price_has_tiers_of_its_own(load_over: Callable[..., Catalogue]) -> None:
    """Else the tiers of the built-in price would stay, and long prompts cost less than short."""
    with pytest.raises(ConfigError) as caught:
        load_over(OVER)
    (problem,) = caught.value.problems
    assert f"models.toml: cloud[openai/gpt-6-luna].price.tiers {CHEAPER}" in problem
    assert "(input = 1.00 USD/1M stands in " in problem
    for tiers in ("[]", '[{ above = 9, input = "1 USD/1M", cached_input = "0.1 USD/1M", '
                        'cache_write = "1 USD/1M", output = "5 USD/1M" }]'):  # fmt: skip
        price = (
            load_over(OVER.replace(" }", f", tiers = {tiers} }}")).clouds["openai/gpt-6-luna"].price
        )
        assert (price.rate.input, price.rate.output) == (USD, 5 * USD)
        assert len(price.tiers) == tiers.count("above")
