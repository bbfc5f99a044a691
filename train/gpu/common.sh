# What every step begins with: the repository's root, a Python, the freight unpacked.
# PY   python of the machine (torch, transformers, peft, accelerate, pyyaml must be there)
# OUT  what is laid there comes home: 8 files of at most 16 MiB
# TOY  set to 1, everything is tiny: the trial on a CPU
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
PY=${PY:-python3}
OUT=${OUT:-runs/home/$(basename "$0" .sh)}
TOY=${TOY:-}
export PYTHONPATH=$PWD PYTHONUNBUFFERED=1 TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1
CORES=$(nproc)
mkdir -p "$OUT"
if [ -f runs/freight/freight.tar ]; then "$PY" train/micro/freight.py unload --work runs/freight; fi
if ls runs/wheels/*.whl >/dev/null 2>&1 && ! "$PY" -c "import datasets" 2>/dev/null; then
  "$PY" -m pip install -q --no-index --no-deps --target /tmp/sac-rag-wheels runs/wheels/*.whl
  export PYTHONPATH=$PYTHONPATH:/tmp/sac-rag-wheels
fi
# token files to train on: all but those that are held out
texts() { ls runs/micro/tokens/*.npy.xz | grep -v -e held_out -e wikitext2_valid; }
SHAPE=(); SIZE=micro; LIMIT=600; BATCH=128
if [ -n "$TOY" ]; then
  SHAPE=(--width 192 --rows 3 --workers 0); SIZE=half-million; LIMIT=2; BATCH=2; CORES=1
fi
