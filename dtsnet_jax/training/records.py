"""What a training has told of itself step by step, in 'metrics.jsonl', one JSON object a line."""

import json
from pathlib import Path

from data.forms import parse_json
from dtsnet_jax.errors import UserError
from dtsnet_jax.seed_run import METRICS_FORM

METRICS_FILE = "metrics.jsonl"


def read_records(directory: Path) -> list[dict]:
    """All records of a run so far: those of steps and, with 'epoch', those of metrics.

    Raises:
      UserError: a line is damaged; one that a kill cut short is left out.
    """
    path = directory / METRICS_FILE
    if not path.is_file():
        return []
    *lines, _ = path.read_bytes().split(b"\n")
    return [_record(path, number, line) for number, line in enumerate(lines, start=1)]


def _record(path: Path, number: int, line: bytes) -> dict:
    record, damage = parse_json(line, METRICS_FORM)
    if damage:
        raise UserError(f"line {number} of '{path}' is damaged, {damage}; remove it.")
    return record


def record_line(record: dict) -> str:
    """The line of a record."""
    return json.dumps(record) + "\n"
