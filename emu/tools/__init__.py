"""The tools behind the subcommands of `emu`: one tool, one file, each with `main(words) -> exit status`."""
