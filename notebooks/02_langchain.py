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
# # LangChain: compressed documents in an ordinary chain
#
# Between a retriever and an LLM everything is a string. So the compressor puts a short signed *handle* where
# the text was, and `SACCompressedLLM` lays the anchors that it names into the KV cache.

# %%
from importlib.resources import files

from langchain_core.documents import Document
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import PromptTemplate
from langchain_core.runnables import RunnableLambda, RunnablePassthrough
from langchain_sac import SACCompressedLLM

llm = SACCompressedLLM.from_pretrained("embedded", max_tokens=32)
atlas = files("sac_rag") / "embedded" / "atlas"
names = ("lorside", "harholm", "vilmoor", "branholm", "galgarth", "yalsea")
library = [
    Document((atlas / f"{name}.md").read_text(), id=name, metadata={"source": f"{name}.md"})
    for name in names
]

# %% [markdown]
# ## Directly: `documents=`

# %%
llm.invoke("What colour is the roof of Ralmere Abbey?", documents=library[:3])

# %%
for piece in llm.stream("What is the founding year of Harholm?", documents=library[:3]):
    print(piece, end="|")

# %% [markdown]
# ## In a chain
# A retriever (here: the documents that hold most of the question's names; yours is a vector store), the
# compressor, a prompt in the format that the model was trained with, the model.


# %%
def search(question: str) -> list[Document]:
    names = [word for word in question.strip("?").split() if word[0].isupper()]
    return sorted(library, key=lambda doc: -sum(doc.page_content.count(name) for name in names))[:3]


def join(documents: list[Document]) -> str:
    return "".join(document.page_content for document in documents)


prompt = PromptTemplate.from_template("{context}\n### Question:\n{question}\n### Answer:\n")
compress = RunnableLambda(search) | llm.as_compressor().as_runnable()
chain = (
    {"context": compress | join, "question": RunnablePassthrough()}
    | prompt
    | llm
    | StrOutputParser()
)
chain.invoke("What is Quelkirk Abbey famous for making?")

# %% [markdown]
# What the prompt really holds, and what each document still carries:

# %%
compressed = compress.invoke("What is Quelkirk Abbey famous for making?")
for document in compressed:
    meta = document.metadata
    print(document.id, document.page_content)
    print(
        f"   {meta['sac_tokens']} tokens -> {meta['sac_anchors']} anchors; {meta['sac_original'][:50]!r}"
    )

# %% [markdown]
# ## Many questions at once
# `batch` decodes them together, each with its own documents.

# %%
questions = [
    "What colour is the roof of Ralmere Abbey?",
    "What is the founding year of Harholm?",
    "What is dug in the Tarhold Mine?",
]
for question, answer in zip(questions, chain.batch(questions), strict=True):
    print(f"{question:40} {answer}")

# %% [markdown]
# ## Chat
# `ChatSAC` takes documents as content blocks, and says in `usage_metadata` what they came to.

# %%
chat = llm.as_chat_model()
message = {
    "role": "user",
    "content": [
        {"type": "text-plain", "mime_type": "text/plain", "text": library[1].page_content},
        {"type": "text", "text": "What colour is the roof of Ralmere Abbey?"},
    ],
}
reply = chat.invoke([message])
print(reply.text)
reply.usage_metadata

# %% [markdown]
# ## Before anybody asks
# `as_transformer()` compresses when documents are ingested: the text stays for the index, and no question
# waits for the encoder.

# %%
ingested = llm.as_transformer().transform_documents(library)
result = llm.generate(
    [
        "".join(d.page_content for d in llm.as_compressor().compress_documents(ingested[:3], ""))
        + "\n### Question:\nWhat is the founding year of Harholm?\n### Answer:\n"
    ]
)
print(result.generations[0][0].text)
result.llm_output["token_usage"]

# %% [markdown]
# ## What it saves
# The same question with 1 to 4 documents: the KV cache, and the time to the first token.

# %%
from figures import draw_costs

engine = llm.engine
rows = []
for count in (1, 2, 3, 4):
    texts = [document.page_content for document in library[:count]]
    runs = {
        kind: [
            engine.answer(questions[0], texts, max_new_tokens=2, compress=kind == "anchor").usage
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
