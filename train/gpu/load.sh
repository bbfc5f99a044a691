#!/bin/bash
# Prepare here what a step needs there: runs/freight/freight.tar (and runs/wheels, once, see GPU_QUEUE.md).
#   train/gpu/load.sh language|reading|reading-fresh|table|long DATA_FOLDER [LIMIT_MIB]
#   (long: with ADAPTER=runs/table/finetune/NAME-SEED/adapter)
set -euo pipefail
cd "$(dirname "$0")/../.."
PY=${PY:-.venv/bin/python}
what=$1; data=$2; limit=${3:-52}
export PYTHONPATH=$PWD TOKENIZERS_PARALLELISM=false
m=runs/micro
[ -d $m/tokenizer ] || "$PY" train/micro/bpe.py --data "$data" --out $m/tokenizer
# the texts for adapters are written last: with them all is there
[ -f $m/sac_texts.txt.xz ] || "$PY" train/micro/prepare.py --data "$data" --tokenizer $m/tokenizer --out $m
mkdir -p runs/data/qa
for file in "$data"/qa/*.jsonl.xz; do cp -u "$file" runs/data/qa/; done
train_sets=$(ls runs/data/qa/*.train.jsonl.xz)
dev_sets=$(ls runs/data/qa/*.dev.jsonl.xz)
texts() { for name in "$@"; do if [ -f $m/tokens/$name.npy.xz ]; then echo $m/tokens/$name.npy.xz; fi; done; }
case $what in
  language) files="$m/tokenizer $(texts held_out wikitext2_valid enwiki_train enwiki2018_new fairytales_train onestopenglish)" ;;
  reading) files="$m/tokenizer $train_sets $dev_sets" ;;
  reading-fresh) files="$m/tokenizer $m/base $train_sets $(texts held_out wikitext2_valid) $dev_sets $(texts fairytales_train onestopenglish enwiki2018_new)" ;;
  table) files="$m/model $train_sets $dev_sets $m/sac_texts.txt.xz $(ls -d runs/table/rows runs/table/pretrain 2>/dev/null || true)" ;;
  long)
    mkdir -p runs/data/rag runs/data/summ
    for name in rag/nq_multidoc10_built.train rag/2wikimultihop.dev rag/musique.train summ/qmsum_span.dev summ/qmsum.dev; do
      if [ -f "$data/$name.jsonl.xz" ]; then cp -u "$data/$name.jsonl.xz" runs/data/$name.jsonl.xz; fi
    done
    files="$m/model ${ADAPTER:?name the adapter} $dev_sets $(find runs/data/rag runs/data/summ -name '*.jsonl.xz')" ;;
  *) echo "no step is called $what" >&2; exit 2 ;;
esac
"$PY" train/micro/freight.py load --work runs/freight --limit-mib "$limit" $files
