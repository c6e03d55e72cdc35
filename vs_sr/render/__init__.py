"""From a film to a film: what ``vs-sr render`` does, one idea a file.

``reading`` says what a file holds, ``decoding`` makes a clip of it, ``graph`` puts the filters on it, ``encoding``
makes packets of frames, ``segments`` keeps them until they are whole, ``joining`` writes the file, and ``rendering``
goes from the first to the last of these.
"""
