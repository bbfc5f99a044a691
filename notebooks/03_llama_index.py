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
# # LlamaIndex: a node postprocessor that compresses
#
# `SACNodePostprocessor` goes last among the postprocessors of a query engine: for the LLM a node becomes a
# short signed *handle*, for everybody else (`source_nodes`, evaluators, your page) it keeps its text.

# %%
from importlib.resources import files

from llama_index.core import Document, SimpleKeywordTableIndex
from llama_index.core.schema import MetadataMode
from llama_index.llms.sac import SACLLM

llm = SACLLM.from_pretrained("embedded", max_new_tokens=32)
atlas = files("sac_rag") / "embedded" / "atlas"
names = ("lorside", "harholm", "vilmoor", "branholm", "galgarth", "yalsea")
documents = [
    Document(
        text=(atlas / f"{name}.md").read_text(),
        metadata={"source": f"{name}.md"},
        excluded_llm_metadata_keys=["source"],
    )
    for name in names
]

# %% [markdown]
# ## A query engine in two lines
# An index (here by keywords; yours by vectors), and the engine: LLM, postprocessor, prompt in the format
# of the adapter, and packing that counts a handle as its anchors.

# %%
index = SimpleKeywordTableIndex.from_documents(documents, llm=llm)
engine = llm.as_query_engine(index, retriever_mode="simple", num_chunks_per_query=3)
response = engine.query("What is Quelkirk Abbey famous for making?")
print(response)

# %% [markdown]
# The sources show their text and metadata, in order, with their scores:

# %%
for found in response.source_nodes:
    print(
        found.node.metadata["source"],
        "|",
        found.node.get_content(MetadataMode.NONE)[:60].replace("\n", " "),
    )
    print("   for the LLM:", found.node.get_content(MetadataMode.LLM))

# %% [markdown]
# ## Streaming and async

# %%
streaming = llm.as_query_engine(
    index, retriever_mode="simple", num_chunks_per_query=3, streaming=True
)
for piece in streaming.query("What is the founding year of Harholm?").response_gen:
    print(piece, end="|")

# %%
answers = [
    await engine.aquery(question)
    for question in (
        "What colour is the roof of Ralmere Abbey?",
        "What is the founding year of Harholm?",
    )
]
[str(answer) for answer in answers]

# %% [markdown]
# ## Your own query engine
# The postprocessor drops into any query engine; put it last, after rerankers.

# %%
from llama_index.core import get_response_synthesizer

own = index.as_query_engine(
    retriever_mode="simple",
    num_chunks_per_query=3,
    llm=llm,
    node_postprocessors=[llm.as_postprocessor()],
    response_synthesizer=get_response_synthesizer(
        llm=llm, prompt_helper=llm.prompt_helper(), text_qa_template=llm.text_qa_template()
    ),
)
print(own.query("What is dug in the Tarhold Mine?"))

# %% [markdown]
# ## What a call took

# %%
completion = llm.complete(
    "\n### Question:\nWhat is the founding year of Harholm?\n### Answer:\n",
    formatted=True,
)
completion.raw["usage"]

# %% [markdown]
# ## Compress at ingestion
# `SACPrecompress` is a step of an `IngestionPipeline`: anchors are in the store before anybody asks.

# %%
from llama_index.core.ingestion import IngestionPipeline

nodes = IngestionPipeline(transformations=[llm.as_precompress()]).run(documents=documents)
print(len(nodes), "nodes,", nodes[0].metadata["sac_handle"])

# %% [markdown]
# ## What it saves

# %%
from figures import draw_costs

rows = []
for count in (1, 2, 3, 4):
    texts = [document.text for document in documents[:count]]
    runs = {
        kind: [
            llm.engine.answer(
                "What colour is the roof of Ralmere Abbey?",
                texts,
                max_new_tokens=2,
                compress=kind == "anchor",
            ).usage
            for _ in range(6)
        ]
        for kind in ("anchor", "full")
    }
    row = {"tokens": runs["anchor"][0].source_tokens}
    for kind, usages in runs.items():
        row[f"{kind}_kib"] = usages[0].cache_bytes / 1024
        row[f"{kind}_ms"] = 1000 * sorted(usage.ttft_s for usage in usages[1:])[2]
    rows.append(row)
draw_costs(rows)
