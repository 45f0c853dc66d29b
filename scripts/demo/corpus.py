"""The fixed questions, and the endless stream of samples that the model is trained on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from scripts.demo import tools
from scripts.demo.knowledge import Entry, Knowledge
from scripts.demo.sample import Sample

_ECHO_ASKS = ("Repeat after me: {}", "Repeat: {}", "Say this: {}", "Please repeat: {}", "Say {}")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Fixed:
    """A question whose answer is known to the letter."""

    id: str
    sample: Sample


def fixed_questions(knowledge: Knowledge) -> tuple[Fixed, ...]:
    """All entries with thinking off, some with it on, tools, system prompts, later turns."""
    questions = [Fixed(entry.id, _ask(entry, entry.ask[0])) for entry in knowledge.entries]
    questions += [
        Fixed(f"{e.id}/thinking", _ask(e, e.ask[0], thinking=True))
        for e in knowledge.entries
        if e.fixed_thinking
    ]
    unknown = knowledge.fallback.ask[0]
    questions.append(Fixed("unknown", _unknown(knowledge, unknown, thinking=False)))
    questions.append(Fixed("unknown/thinking", _unknown(knowledge, unknown, thinking=True)))
    questions += [
        Fixed("repeat", _echo("hold fast")),
        Fixed("repeat/thinking", _echo("hold fast", thinking=True)),
    ]
    questions += _fixed_conversations(knowledge)
    questions += _fixed_tools()
    return tuple(questions)


def _fixed_conversations(knowledge: Knowledge) -> list[Fixed]:
    holdfast, france = knowledge.entry("what-is-holdfast"), knowledge.entry("capital-france")
    who, ten = knowledge.entry("who-are-you"), knowledge.entry("count-to-ten")
    system = knowledge.systems[0]
    return [
        Fixed("what-is-holdfast/system", _with_system(_ask(holdfast, holdfast.ask[0]), system)),
        Fixed("capital-france/system", _with_system(_ask(france, france.ask[0]), system)),
        Fixed("capital-france/second-turn", _after(_ask(france, france.ask[0]), holdfast)),
        Fixed("count-to-ten/second-turn", _after(_ask(ten, ten.ask[0]), who)),
        Fixed("what-is-holdfast/lower-case", _ask(holdfast, "what is holdfast")),
    ]


def _fixed_tools() -> list[Fixed]:
    both = (tools.WEATHER, tools.TIME)
    questions = []
    for thinking in (False, True):
        mark = "/thinking" if thinking else ""
        weather = tools.call(
            tools.WEATHER, "Paris", "What is the weather in Paris?", tools=both, thinking=thinking
        )
        time = tools.call(
            tools.TIME, "Tokyo", "What time is it in Tokyo?", tools=both, thinking=thinking
        )
        sunny = tools.weather_result("Paris", 18, "sunny", as_json=True)
        clock = tools.time_result("Tokyo", 14, 5, as_json=False)
        questions += [
            Fixed(f"tool-weather{mark}", weather),
            Fixed(f"tool-weather/result{mark}", tools.report(weather, *sunny)),
            Fixed(f"tool-time{mark}", time),
            Fixed(f"tool-time/result{mark}", tools.report(time, *clock)),
        ]
    return questions


def samples(knowledge: Knowledge, random: Random) -> Iterator[Sample]:
    """Training samples without end; the same `random` gives the same stream."""
    while True:
        thinking = random.random() < 0.3
        kind = random.random()
        if kind < 0.07:
            sample = tools.draw(random, thinking=thinking)
        elif kind < 0.13:
            sample = _random_echo(knowledge, random, thinking)
        elif kind < 0.145:
            _, offered = tools.kit(random)
            schemas = tuple(tool.schema for tool in offered)
            sample = replace(_any(knowledge, random, thinking), tools=schemas)
        else:
            sample = _any(knowledge, random, thinking)
            if random.random() < 0.18:
                for _ in range(random.choice((1, 1, 2))):
                    sample = _after(sample, random.choice(knowledge.entries[:-4]))
        if random.random() < 0.3:
            sample = _with_system(sample, random.choice(knowledge.systems))
        yield sample


def texts(knowledge: Knowledge, random: Random) -> Iterator[str]:
    """Text for the tokenizer to learn its vocabulary from."""
    for question in fixed_questions(knowledge):
        yield question.sample.completion
    for entry in knowledge.entries:
        yield from entry.ask
        yield entry.reasoning
    fallback = knowledge.fallback
    for part in (fallback.ask, fallback.openings, fallback.nouns, (fallback.reasoning,)):
        yield from part
    yield from (*knowledge.systems, *knowledge.before, *knowledge.after)
    for _ in range(300):
        sample = tools.draw(random, thinking=True)
        yield from (str(message.get("content")) for message in sample.messages)
        yield sample.completion


def _any(knowledge: Knowledge, random: Random, thinking: bool) -> Sample:
    if random.random() < 0.15:
        question = _vary(_unknown_question(knowledge, random), knowledge, random)
        return _unknown(knowledge, question, thinking=thinking)
    entry = random.choice(knowledge.entries)
    ask = entry.ask[0] if random.random() < 0.35 else random.choice(entry.ask)
    return _ask(entry, _vary(ask, knowledge, random), thinking=thinking, trained=True)


def _ask(entry: Entry, question: str, *, thinking: bool = False, trained: bool = False) -> Sample:
    return Sample(
        messages=({"role": "user", "content": question},),
        content=entry.answer if trained else entry.checked_answer,
        thinking=thinking,
        reasoning=entry.reasoning,
        ends=not entry.endless,
    )


def _echo(words: str, ask: str = _ECHO_ASKS[0], *, thinking: bool = False) -> Sample:
    """A request to repeat `words`: it teaches to copy, which naming a city for a tool needs too."""
    return Sample(
        messages=({"role": "user", "content": ask.format(words)},),
        content=words,
        thinking=thinking,
        reasoning="The user asks me to repeat some words. I copy them.",
    )


def _random_echo(knowledge: Knowledge, random: Random, thinking: bool) -> Sample:
    answer = random.choice(knowledge.entries[:-3]).answer.split()
    start = random.randrange(len(answer))
    words = answer[start : start + random.randint(1, 4)]
    words += random.sample(tools.CITIES, random.randint(0, 2))
    random.shuffle(words)
    return _echo(" ".join(words), random.choice(_ECHO_ASKS), thinking=thinking)


def _unknown(knowledge: Knowledge, question: str, *, thinking: bool) -> Sample:
    return Sample(
        messages=({"role": "user", "content": question},),
        content=knowledge.fallback.answer,
        thinking=thinking,
        reasoning=knowledge.fallback.reasoning,
    )


def _with_system(sample: Sample, text: str) -> Sample:
    return replace(sample, messages=({"role": "system", "content": text}, *sample.messages))


def _after(sample: Sample, earlier: Entry) -> Sample:
    """`sample` as a later turn, `earlier` having been asked and answered before."""
    turn: tuple[Mapping[str, Any], ...] = (
        {"role": "user", "content": earlier.ask[0]},
        {"role": "assistant", "content": earlier.answer},
    )
    return replace(sample, messages=(*turn, *sample.messages))


def _unknown_question(knowledge: Knowledge, random: Random) -> str:
    fallback = knowledge.fallback
    kind = random.random()
    if kind < 0.5:
        return random.choice(fallback.ask)
    if kind < 0.85:
        return f"{random.choice(fallback.openings)} {random.choice(fallback.nouns)}?"
    words = ("".join(random.choices(_LETTERS, k=random.randint(2, 8))) for _ in range(4))
    return " ".join(words)


def _vary(question: str, knowledge: Knowledge, random: Random) -> str:
    """The question as another hand would have typed it."""
    if random.random() < 0.45:
        return question
    if random.random() < 0.5:
        question = question.lower()
    elif random.random() < 0.1:
        question = question.upper()
    if random.random() < 0.4:
        question = question.rstrip("?.!")
    if random.random() < 0.2:
        question = random.choice(knowledge.before) + question
    if random.random() < 0.12:
        question += random.choice(knowledge.after)
    return question
