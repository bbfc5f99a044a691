#!/bin/bash
# 9.5 minutes: questions cut from the texts (half a minute on 16 cores), stage B, and what the model answers then.
. "$(dirname "$0")/common.sh"
if [ ! -d runs/micro/readings/cloze ]; then
  "$PY" train/micro/readings.py --data runs/data --tokenizer runs/micro/tokenizer --out runs/micro/readings \
    --tokens $(texts) --processes "$CORES" --limit $([ -n "$TOY" ] && echo 60 || echo 20000)
fi
"$PY" train/micro/train_reading.py --base runs/micro/base --readings runs/micro/readings --tokens $(texts) \
  --tokenizer runs/micro/tokenizer --work runs/micro/reading --out runs/micro/model --home "$OUT" \
  --optimizer "${OPTIMIZER:-adamw}" --minutes "${MINUTES:-5.8}" --whole-minutes "${WHOLE_MINUTES:-5.5}" \
  ${RESUME:+--resume "$RESUME"} ${TOY:+--steps 6} --workers 8 "${SHAPE[@]}"
"$PY" train/micro/perplexity.py --model runs/micro/model --tokens runs/micro/tokens/held_out.npy.xz \
  runs/micro/tokens/wikitext2_valid.npy.xz --out "$OUT/perplexity.json"
"$PY" train/micro/score.py --data runs/data --model runs/micro/model --roads full none --limit $LIMIT --batch $BATCH \
  --out "$OUT/scores.json"
