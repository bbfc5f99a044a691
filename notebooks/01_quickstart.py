# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Quickstart: a document becomes a few anchors, and the anchors answer
#
# A decoder that reads a document keeps two vectors, key and value, for every token at every layer. sac-rag
# keeps them for one token in five only, the *anchors*, and trains the model a little (a LoRA, used while
# encoding) so that an anchor carries what stands around it. Everything below runs offline on a CPU with
# the small model that ships with the package.

# %%
from importlib.resources import files
from itertools import pairwise

from figures import draw_anchors, draw_costs

from sac_rag import SACEngine

engine = SACEngine.from_pretrained("embedded")
engine

# %% [markdown]
# ## One document
# The model knows nothing of the town of Harholm: whatever it answers, it read.

# %%
atlas = files("sac_rag") / "embedded" / "atlas"
harholm = (atlas / "harholm.md").read_text()
print(harholm[:600], "...")

# %%
cache = engine.compress(harholm)
cache

# %% [markdown]
# Which tokens were kept? Every fifth one, each in the middle of its neighbours.

# %%
tokens = engine.tokens
ids = tokens.encode(harholm)
prefix = cache.num_tokens - len(ids)  # what the encoder reads before the text
kept = [int(position) - 1 - prefix for position in cache.positions if position > prefix]
texts = [tokens.decode(ids[:count]) for count in range(201)]
pieces = [longer[len(shorter) :] for shorter, longer in pairwise(texts)]
draw_anchors(pieces, [index for index in kept if index < 200])

# %% [markdown]
# ## Ask
# `compress=False` lets the decoder read the whole text instead: the full-context twin.

# %%
for question in (
    "What is the founding year of Harholm?",
    "From what year is the tower of Ralmere Abbey?",
):
    short = engine.answer(question, [harholm])
    full = engine.answer(question, [harholm], compress=False)
    print(f"{question:45} anchors: {short.text:16} full text: {full.text}")
short.usage

# %% [markdown]
# Answers stream, and the pieces join to the same answer.

# %%
with engine.stream("In which month does Harholm celebrate its festival?", [harholm]) as pieces:
    for piece in pieces:
        print(piece, end="", flush=True)
print("\n", pieces.answer.usage.completion_tokens, "tokens,", pieces.answer.usage.finish_reason)

# %% [markdown]
# ## Anchors compose
# Each document was encoded alone. Joined in any order, every one is moved to its place by turning its keys,
# which is exact; nothing is encoded again.

# %%
towns = [
    (atlas / f"{name}.md").read_text() for name in ("lorside", "harholm", "vilmoor", "branholm")
]
for order in (towns, towns[::-1]):
    answer = engine.answer("What colour is the roof of Ralmere Abbey?", order)
    usage = answer.usage
    print(
        f"{answer.text}: {usage.anchors_loaded} anchors from the store, "
        f"{usage.anchors_encoded} encoded now"
    )

# %% [markdown]
# ## What it costs
# The cache that the decoder starts from, and the time to its first token, as documents are added. The
# anchors are in the store (here in memory), as they are in production from the second question on.

# %%
rows = []
for count in (1, 2, 3, 4):
    documents = towns[:count]
    engine.answer("What colour is the roof of Ralmere Abbey?", documents, max_new_tokens=2)
    runs = {
        kind: [
            engine.answer(
                "What colour is the roof of Ralmere Abbey?",
                documents,
                max_new_tokens=2,
                compress=kind == "anchor",
            ).usage
            for _ in range(5)
        ]
        for kind in ("anchor", "full")
    }
    row = {"tokens": runs["anchor"][0].source_tokens}
    for kind, usages in runs.items():
        row[f"{kind}_kib"] = usages[0].cache_bytes / 1024
        row[f"{kind}_ms"] = 1000 * sorted(usage.ttft_s for usage in usages)[2]
    rows.append(row)
draw_costs(rows)

# %% [markdown]
# The times are of a model of three million weights on a CPU: what matters is how the lines grow.
#
# ## Keep them
# A store on disk is shared by processes and survives them; damaged entries are never served.

# %%
import tempfile

with tempfile.TemporaryDirectory() as folder:
    with SACEngine.from_pretrained("embedded", store=folder) as first:
        first.compress(towns)
    with SACEngine.from_pretrained("embedded", store=folder) as second:
        usage = second.answer("What is the founding year of Harholm?", towns).usage
print(usage.anchors_loaded, "anchors loaded,", usage.anchors_encoded, "encoded")
