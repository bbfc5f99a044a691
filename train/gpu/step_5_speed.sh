#!/bin/bash
# 9.5 minutes: the laws on the card, then its speed against the targets of benchmarks/README.md. Carries nothing.
. "$(dirname "$0")/common.sh"
bench() { "$PY" -c "from sac_rag.cli.main import main; main()" bench "$@"; }
SIZES=(--shape llama-1b-shape --seconds 30); FAR=1k,8k,32k; ROWS=1,32
if [ -n "$TOY" ]; then
  SIZES=(--shape embedded --quick --repeats 1 --threads 1); FAR=1k; ROWS=1,2
  export SAC_RAG_GPU_TESTS=cpu
fi
# a law that does not hold is said, and the clock runs on
if "$PY" -c "import pytest" 2>/dev/null; then
  "$PY" -m pytest -q -m gpu tests/gpu -p no:cacheprovider 2>&1 | tee "$OUT/laws.txt" || true
fi
report() { bench "$1" "${SIZES[@]}" --json "$OUT/$1.json" --markdown "$OUT/$1.md" "${@:2}" || echo "$1: failed"; }
report encoder --contexts $FAR
report first-token --contexts $FAR
report decoding --contexts $FAR --batches $ROWS
# last, because compiling takes minutes: the encoder's rate at 64 chunks a batch
bench encoder "${SIZES[@]}" --contexts "${FAR##*,}" --compiled --json "$OUT/compiled.json" --markdown "$OUT/compiled.md"
