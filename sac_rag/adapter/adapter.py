"""What was trained, on disk and on a model: LoRA, embeddings, and the config that fits them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from huggingface_hub import CommitInfo, HfApi
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel

from sac_rag.adapter.config import BaseIdentity, SACConfig
from sac_rag.adapter.folder import EMBEDDINGS_FILE, fetch_adapter, fill_embeddings
from sac_rag.anchor_cache import FORMAT_VERSION
from sac_rag.backbone import Backbone, check_supported
from sac_rag.config import CompressConfig
from sac_rag.errors import AdapterMismatchError, CheckpointFormatError, ConfigError
from sac_rag.importance import scorer_for
from sac_rag.methods import METHODS, SAC, Method
from sac_rag.prompts import PromptFormat
from sac_rag.selection import IMPORTANCE
from sac_rag.settings import plain
from sac_rag.tokens import Tokens


class Adapter:
    """A compression method on a model, with the settings that belong to it.

    Args:
        method: The method, its backbone carrying the LoRA.
        config: What it says about itself.
    """

    def __init__(self, method: Method, config: SACConfig) -> None:
        self.method = method
        self.config = config
        self.method.fingerprint = self.fingerprint()

    @classmethod
    def create(
        cls,
        model: PreTrainedModel,
        *,
        compress: CompressConfig,
        lora: LoraConfig,
        prompt: PromptFormat | None = None,
        base_model: str | None = None,
        method: str = "sac",
        query_aware: bool = False,
        sink: bool = False,
        tokens: Tokens | None = None,
    ) -> Adapter:
        """Put a fresh adapter on a base model, ready to be trained.

        Args:
            model: The base; its weights stay as they are.
            compress: Ratio, chunk size and the rest.
            lora: Rank and modules of the encoder's LoRA.
            prompt: How documents and questions are written; the paper's format by default.
            base_model: Where the base was loaded from; by default what the model says.
            method: A name in ``sac_rag.methods.METHODS``.
            query_aware: Whether the encoder reads each chunk together with the question.
            sink: Whether the frozen model's own BOS stands before all documents.
            tokens: The base's tokenizer, for a scorer that reads text.
        """
        check_supported(model)
        config = SACConfig(
            base=BaseIdentity.of(model),
            base_model=base_model or str(model.config.name_or_path),
            compress=compress,
            prompt=prompt or PromptFormat(),
            method=_known(method),
            query_aware=query_aware,
            sink=sink,
        )
        peft_model = get_peft_model(model, lora, autocast_adapter_dtype=False)  # type: ignore[arg-type]
        return cls(_make_method(method, Backbone(peft_model), compress, tokens), config)

    @classmethod
    def plain(cls, model: PreTrainedModel, *, prompt: PromptFormat | None = None) -> Adapter:
        """Read a base model as it is: every token an anchor, causal, nothing learned.

        Its caches are the model's own keys and values, whole and reusable.
        """
        compress = CompressConfig(
            ratio=1, chunk_size=510, attention="causal", anchor_embedding="none"
        )
        config = SACConfig(
            base=BaseIdentity.of(model),
            base_model=str(model.config.name_or_path),
            compress=compress,
            prompt=prompt or PromptFormat(),
            task_token=False,
        )
        return cls(SAC(Backbone(model), compress), config)

    @classmethod
    def from_pretrained(
        cls,
        path_or_id: str | Path,
        *,
        model: PreTrainedModel,
        ratio: int | None = None,
        local_files_only: bool | None = None,
        tokens: Tokens | None = None,
    ) -> Adapter:
        """Load an adapter from a folder or the hub onto its base model.

        Args:
            path_or_id: A folder that ``save_pretrained`` wrote, or a hub id.
            model: The base it was trained for.
            ratio: The ratio that is wanted, of those that it serves; None takes the adapter's.
            local_files_only: Never ask the hub.
            tokens: The base's tokenizer, for a scorer that reads text.

        Raises:
            CheckpointFormatError: If files are missing or damaged.
            AdapterMismatchError: If base or ratio are not the adapter's.
        """
        folder = fetch_adapter(path_or_id, local_files_only=local_files_only)
        config = SACConfig.load(folder)
        config.base.check_fits(
            BaseIdentity.of(model), where=str(path_or_id), base_model=config.base_model
        )
        config = _at_ratio(config, ratio, where=str(path_or_id))
        peft_model = PeftModel.from_pretrained(
            model,  # type: ignore[arg-type]
            str(folder),
            autocast_adapter_dtype=False,
            torch_device=str(model.device),
        ).eval()
        method = _make_method(
            _known(config.method),
            Backbone(peft_model),
            config.compress,
            tokens,
            local_files_only=local_files_only,
        )
        fill_embeddings(method, folder)
        return cls(method.requires_grad_(False).to(model.dtype), config)

    @property
    def backbone(self) -> Backbone:
        """The model the adapter is on."""
        return self.method.backbone

    def fingerprint(self) -> str:
        """Hash base model, adapter, settings, precision and format: caches join only within it.

        Which of several ratios is in use is no part of it: they are one compressor.
        """
        digest = sha256()
        # models by what they hold, not by where they lie: the base's identity is in the config,
        # that of a scorer in the method's
        compress = replace(self.config.compress, scorer_model="")
        config = plain(replace(self.config, base_model="", compress=compress))
        if compress.ratios:
            del config["compress"]["ratio"]
        note = (FORMAT_VERSION, sorted(config.items()), str(self.backbone.dtype))
        digest.update(repr(note).encode() + self.method.identity.encode())
        for name, tensor in sorted(self._tensors().items()):
            raw = tensor.detach().to("cpu").contiguous()
            digest.update(f"{name}{tuple(raw.shape)}{raw.dtype}".encode())
            digest.update(raw.reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def save_pretrained(
        self, folder: str | Path, *, weights: Mapping[str, Tensor] | None = None
    ) -> None:
        """Write the adapter: a peft folder, ``sac_config.json`` and the embeddings.

        Args:
            folder: Where to.
            weights: What is learned, by ``model.`` or ``method.`` and its name there, where the
                model itself holds only shards of it; None takes what it holds.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        if isinstance(self.backbone.model, PeftModel):
            self.backbone.model.save_pretrained(
                str(folder),
                save_embedding_layers=False,
                state_dict=None if weights is None else _below("model.", weights),
            )
            (folder / "README.md").unlink(missing_ok=True)  # peft's empty card
        embeddings = self._embeddings() if weights is None else _below("method.", weights)
        save_file(embeddings, folder / EMBEDDINGS_FILE)
        self.config.save(folder)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        commit_message: str = "Upload SAC adapter",
        private: bool | None = None,
        token: str | bool | None = None,
        revision: str | None = None,
        create_pr: bool = False,
    ) -> CommitInfo:
        """Upload the adapter; the repository is created if there is none.

        Args:
            repo_id: ``owner/name``.
            commit_message: Of the one commit it makes.
            private: Whether a new repository is private; None for the owner's default.
            token: As the hub's other functions take it.
            revision: Branch; None for the main one.
            create_pr: Open a pull request instead of committing.
        """
        hub = HfApi(token=token)
        repo_id = hub.create_repo(repo_id, private=private, exist_ok=True).repo_id
        with TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            return hub.upload_folder(
                repo_id=repo_id,
                folder_path=folder,
                commit_message=commit_message,
                revision=revision,
                create_pr=create_pr,
            )

    def _embeddings(self) -> dict[str, Tensor]:
        return {
            name: tensor.cpu().contiguous() for name, tensor in self.method.state_dict().items()
        }

    def _tensors(self) -> dict[str, Tensor]:
        model = self.backbone.model
        if not isinstance(model, PeftModel):
            return self._embeddings()
        # not "auto", which looks for the base's config on the hub to compare vocabularies
        lora = get_peft_model_state_dict(model, save_embedding_layers=False)
        return {**lora, **self._embeddings()}


def _below(prefix: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): weight.contiguous()
        for name, weight in weights.items()
        if name.startswith(prefix)
    }


def _known(method: str) -> str:
    if method not in METHODS:
        raise CheckpointFormatError(
            f"no compression method is called {method!r}; this sac-rag knows {', '.join(METHODS)}"
        )
    return method


def _at_ratio(config: SACConfig, ratio: int | None, *, where: str) -> SACConfig:
    if ratio is None:
        return config
    try:
        return replace(config, compress=config.compress.at(ratio))
    except ConfigError as error:
        served = config.compress.served
        raise AdapterMismatchError(
            f"asked for ratio {ratio}, the adapter in {where} was trained for "
            f"ratio{'s' * (len(served) > 1)} {', '.join(map(str, served))}; leave ratio out, or "
            f"give an adapter for {ratio}"
        ) from error


def _make_method(
    name: str,
    backbone: Backbone,
    compress: CompressConfig,
    tokens: Tokens | None,
    *,
    local_files_only: bool | None = None,
) -> Method:
    """Make a method; SAC with the scorer that its settings name, if they name one."""
    if name != "sac" or compress.selector != IMPORTANCE:
        return METHODS[name](backbone, compress)
    scorer = scorer_for(
        compress, backbone=backbone, tokens=tokens, local_files_only=local_files_only
    )
    return SAC(backbone, compress, scorer=scorer)
