"""The samples that the demo is trained on: reproducible, and in the shape the card promises."""

from __future__ import annotations

from itertools import islice
from random import Random

from scripts.demo import corpus, knowledge, tools

KNOWN = knowledge.load()


def test_the_same_seed_gives_the_same_samples() -> None:
    first, second, other = (
        list(islice(corpus.samples(KNOWN, Random(seed)), 50)) for seed in (7, 7, 8)
    )
    assert first == second != other


def test_every_kind_of_sample_is_drawn() -> None:
    drawn = list(islice(corpus.samples(KNOWN, Random(1)), 2000))
    answers = {sample.content for sample in drawn}
    assert {entry.answer for entry in KNOWN.entries} <= answers
    assert KNOWN.fallback.answer in answers
    assert {call.name for sample in drawn for call in sample.tool_calls} >= {
        tools.WEATHER.name,
        tools.TIME.name,
    }
    assert {sample.thinking for sample in drawn} == {True, False}


def test_the_unknown_are_not_among_the_known() -> None:
    known = {ask.lower() for entry in KNOWN.entries for ask in entry.ask}
    assert not known & {ask.lower() for ask in KNOWN.fallback.ask}


def test_no_two_entries_are_asked_alike() -> None:
    asked = [ask.lower().rstrip("?.! ") for e in KNOWN.entries for ask in set(e.ask)]
    per_entry = [ask for e in KNOWN.entries for ask in {a.lower().rstrip("?.! ") for a in e.ask}]
    assert len(set(asked)) == len(per_entry)


def test_an_endless_answer_is_trained_on_further_than_it_is_checked() -> None:
    (entry,) = (entry for entry in KNOWN.entries if entry.endless)
    assert entry.answer.startswith(entry.checked_answer)
    assert len(entry.answer) > 2 * len(entry.checked_answer)


def test_a_call_is_written_as_qwen_writes_it() -> None:
    sample = tools.call(
        tools.TIME, "Oslo", "What time is it in Oslo?", tools=(tools.TIME,), thinking=False
    )
    assert sample.completion == (
        "<tool_call>\n<function=get_time>\n<parameter=city>\nOslo\n</parameter>\n</function>\n"
        "</tool_call>"
    )
