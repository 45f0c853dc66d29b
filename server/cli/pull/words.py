"""The events of a pull in words, and as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from server.cli.pull.report import plan_document
from server.errors import HoldfastError
from server.store.pull.events import (
    Event,
    Failed,
    Linked,
    NotLinked,
    Planned,
    Published,
    Unchanged,
    Waiting,
)
from server.store.pull.plan import Plan
from server.store.transfer import FileFailed, Retrying
from server.units import format_bytes, format_duration


def said(event: Event) -> str | None:
    """An event in words; None for those that a bar shows better."""
    match event:
        case Waiting(seconds, window):
            return f"Waiting {format_duration(seconds)} for the window {window}"
        case Planned(plan) if plan.of("fetch") or plan.of("link"):
            return _planned(plan)
        case Linked(path, how, size):
            return f"{path}: {format_bytes(size)} held already ({how})"
        case NotLinked(path, source):
            return f"{path}: {source} is not what it should be, so it is fetched"
        case Retrying(path, why, seconds):
            pause = f", again in {format_duration(seconds)}" if seconds else ", another source"
            return f"{path}: {why}{pause}"
        case FileFailed(path, error):
            return f"{path}: {error.sentence}"
        case Published(repository, revision, folder, files, size):
            whole = f"{files} files, {format_bytes(size)}, verified"
            return f"{repository}@{revision[:12]} is whole: {whole}\n  {folder}"
        case Unchanged(repository, revision, folder):
            return f"{repository}@{revision[:12]} was whole already\n  {folder}"
        case Failed(repository, error):
            return f"{repository} was not pulled: {error.sentence}"
    return None


def as_json(event: Event) -> Mapping[str, Any]:
    """The event as an object: its kind under `event`, then its fields."""
    kind = "".join(f"_{c.lower()}" if c.isupper() else c for c in type(event).__name__)
    values = {one.name: getattr(event, one.name) for one in fields(event)}
    if isinstance(event, Planned):
        values = dict(plan_document(event.plan))
    if isinstance(error := values.get("error"), HoldfastError):
        values["error"] = {
            "code": error.code,
            "what": error.what,
            "why": error.why,
            "next_step": error.next_step,
        }
    return {"event": kind.lstrip("_"), **values}


def _planned(plan: Plan) -> str:
    fetched, kept, linked = plan.of("fetch"), plan.of("keep"), plan.of("link")
    text = (
        f"{plan.order.repository}@{(plan.revision or '')[:12]}: {len(fetched)} files to fetch, "
        f"{format_bytes(plan.bytes_to_fetch)}"
    )
    text += f", {len(kept)} held" if kept else ""
    text += f", {len(linked)} to link" if linked else ""
    refused = "".join(f"\n  left out: {one.path} ({one.why})" for one in plan.refused)
    return text + refused
