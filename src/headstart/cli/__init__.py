"""The command `headstart`: one module for each of its subcommands."""
