"""From a film to a film: what ``vs-sr render`` does, one idea a file.

``work`` is what is wanted, as plain data, and the graph that it comes to: ``reading`` says what a file holds,
``decoding`` makes a clip of it, ``graph`` puts the filters on it. ``encoding`` makes packets of frames, ``segments``
keeps them until they are whole, ``joining`` writes the file, and ``rendering`` goes from the first to the last of
these. Several processes at once are ``workers``, by a ``schedule``; ``costs`` says what they bring.
"""
