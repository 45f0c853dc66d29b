"""The compact way of writing a file in many parts, spelled out."""

from __future__ import annotations

from server.catalogue.model import File

_PART = "#####"


def expand(row: dict[str, object]) -> tuple[File, ...]:
    """A row of `files` -> its files, in order. Raises ValueError with what was expected.

    `{ path = "model.safetensors-#####-of-00004.safetensors", parts = 4, part_bytes = [...] }`
    stands for four files; a row without `parts` is one file.
    """
    path = str(row["path"])
    parts = row.get("parts")
    if parts is None:
        if _PART in path or "part_bytes" in row or "part_sha256" in row:
            raise ValueError(f'expected "parts" beside a path with {_PART} and its lists')
        return (File(**row),)  # type: ignore[arg-type]
    assert isinstance(parts, int)
    if path.count(_PART) != 1 or "bytes" in row or "sha256" in row:
        raise ValueError(
            f'expected one {_PART} in a path with "parts", and "part_bytes" and "part_sha256" '
            'in place of "bytes" and "sha256"'
        )
    sizes = _one_each(row, "part_bytes", parts)
    digests = _one_each(row, "part_sha256", parts)
    return tuple(
        File(path.replace(_PART, f"{index + 1:05}"), sizes[index], digests[index])  # type: ignore[arg-type]
        for index in range(parts)
    )


def _one_each(row: dict[str, object], key: str, parts: int) -> tuple[object, ...]:
    values = row.get(key, (None,) * parts)
    assert isinstance(values, tuple)
    if len(values) != parts:
        raise ValueError(f'expected {parts} values in "{key}", not {len(values)}')
    return values
