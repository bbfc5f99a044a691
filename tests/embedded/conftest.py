"""The training folder on the path: its scripts import each other as neighbours."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "train" / "embedded"))
