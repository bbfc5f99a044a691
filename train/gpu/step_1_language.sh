#!/bin/bash
# 9.5 minutes: stage A. Go on after a cut-off: the same command; on another machine with RESUME=runs/micro/base.
. "$(dirname "$0")/common.sh"
"$PY" train/micro/train_language.py --tokens $(texts) --tokenizer runs/micro/tokenizer --size $SIZE \
  --work runs/micro/language --out runs/micro/base --home "$OUT" --optimizer "${OPTIMIZER:-adamw}" \
  --minutes "${MINUTES:-8.8}" --whole-minutes "${WHOLE_MINUTES:-8.2}" ${RESUME:+--resume "$RESUME"} \
  ${TOY:+--steps 6} --workers 4 "${SHAPE[@]}"
"$PY" train/micro/perplexity.py --model runs/micro/base --tokens runs/micro/tokens/held_out.npy.xz \
  runs/micro/tokens/wikitext2_valid.npy.xz --out "$OUT/perplexity.json"
