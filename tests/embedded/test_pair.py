"""Training with one process per core: whoever stops the first stops them all."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "train" / "embedded"
SCRIPT = """
import signal, sys, threading
from pathlib import Path
import pair

def worker(folder):
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    Path(folder, f"begun-{pair.rank()}").touch()
    while not stop.wait(0.1):
        pass
    Path(folder, f"ended-{pair.rank()}").touch()

if __name__ == "__main__":
    pair.launch(worker, sys.argv[1], processes=2)
"""


def test_sigterm_reaches_every_process(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")
    running = subprocess.Popen([sys.executable, script, tmp_path], env={"PYTHONPATH": str(FOLDER)})
    try:
        while len(list(tmp_path.glob("begun-*"))) < 2:
            assert running.poll() is None
            time.sleep(0.1)
        running.send_signal(signal.SIGTERM)
        assert running.wait() == 0
    finally:
        running.kill()
    assert sorted(path.name for path in tmp_path.glob("ended-*")) == ["ended-0", "ended-1"]
