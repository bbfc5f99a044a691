#!/bin/bash
# 6 minutes: what the card does, and which optimiser is better for a minute's training each.
. "$(dirname "$0")/common.sh"
"$PY" train/micro/probe.py --tokenizer runs/micro/tokenizer --out "$OUT/probe.json" ${TOY:+--tiny}
for optimizer in adamw muon; do
  work=runs/probe/$optimizer
  "$PY" train/micro/train_language.py --tokens $(texts) --tokenizer runs/micro/tokenizer \
    --work $work --out $work/model --optimizer $optimizer --size $SIZE "${SHAPE[@]}" \
    ${TOY:+--steps 4} --minutes 1.4 --whole-minutes 1.0
  "$PY" train/micro/perplexity.py --model $work/model --tokens runs/micro/tokens/held_out.npy.xz --out "$OUT/$optimizer.json"
done
