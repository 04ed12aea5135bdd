"""Instruction sets as a person would read them: `lang` is the spec language, the other folders are cores."""
