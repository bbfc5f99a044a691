"""Train an adapter: ``python -m sac_rag.train``, recipes in ``train/recipes/``."""
