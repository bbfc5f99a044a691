"""The training folders on the path: their scripts import each other as neighbours."""

import sys
from pathlib import Path

for name in ("embedded", "micro", "reproduce"):
    sys.path.append(str(Path(__file__).parents[2] / "train" / name))
