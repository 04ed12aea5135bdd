"""The PowerPC core of embedded Book E processors (440, e500): state, instruction forms, instructions by chapter.

Manuals throughout: Power ISA 2.07, Book I ("Book I") and Book III-E; PowerPC 440 and e500 core reference manuals.
"""
