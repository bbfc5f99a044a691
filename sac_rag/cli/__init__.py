"""The command line ``sac-rag``: the door that prints. Loads no torch until a command needs it."""
