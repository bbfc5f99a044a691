#!/bin/bash
# 9.5 minutes: as documents grow, and as the answer stands first, in the middle, last (ADAPTER=runs/table/finetune/NAME-SEED/adapter).
. "$(dirname "$0")/common.sh"
export TORCH_ALLOW_TF32_CUBLAS_OVERRIDE=1
adapter=${ADAPTER:-$(ls -d runs/table/finetune/sac_5x_composed-*/adapter | head -n 1)}
# half a minute (a guess): whether what is lost among many is lost to distance or to the other texts
timeout 60 "$PY" train/micro/falloff.py --model runs/micro/model --adapter "$adapter" --data 'runs/data/qa/*.dev.jsonl.xz' \
  --others 1 3 7 --questions $([ -n "$TOY" ] && echo 2 || echo 32) --roads compressed full --out "$OUT/falloff.json" || echo "falloff: not done"
"$PY" train/micro/long_and_many.py --data runs/data --model runs/micro/model --adapter "$adapter" \
  --chunks 1 2 3 4 8 16 32 64 --limit $([ -n "$TOY" ] && echo 2 || echo 200) --batch $BATCH \
  --minutes "${MINUTES:-8.2}" --out runs/long_and_many --report "$OUT"
