"""``sac-rag demo``: a small folder compressed, then asked, from anchors beside the full text."""
