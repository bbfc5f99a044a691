#!/bin/bash
# 9.5 minutes a call, again until all rows are done: some three rows of the table a machine (ROWS="sac_5x epl_5x" for a choice).
. "$(dirname "$0")/common.sh"
# weights stay float32, as the recipes have it; matrix products in tf32 (what PyTorch reads; NVIDIA_TF32_OVERRIDE only turns off)
export TORCH_ALLOW_TF32_CUBLAS_OVERRIDE=1
code=0
toy=(steps=2 batch=2 micro_batch=2 lora.rank=2 lora.alpha=4 save_every=1 log_every=1)
"$PY" train/micro/table.py run --data runs/data --model runs/micro/model --work runs/table --minutes "${MINUTES:-8.8}" \
  --texts runs/micro/sac_texts.txt.xz --limit $LIMIT --batch $BATCH ${ROWS:+--rows $ROWS} \
  ${TOY:+--pretrain "${toy[@]}" --finetune "${toy[@]}"} || code=$?
adapters=$(ls -d runs/table/pretrain/*/finished.json runs/table/pretrain/*/adapter runs/table/finetune/*/adapter 2>/dev/null || true)
"$PY" train/micro/freight.py home --out "$OUT" $(ls -d runs/table/rows runs/table/scores 2>/dev/null || true) $adapters
exit $code
