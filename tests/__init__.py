"""Tests, in folders as in the source; what they share is in `tools/`."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
