"""A whole backend package: ``backend="counting"`` runs networks as "eager" does, and counts their calls.

Where this wraps a method, another backend compiles it, captures it as a CUDA graph, or has it run elsewhere.
"""

import logging
from collections import Counter
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

from vs_sr import Backend, hookimpl
from vs_sr.spec import METHODS

log = logging.getLogger("vs_sr.counting")  # what is below "vs_sr" reaches people in every host


def open(request):
    # torch is imported when the first frame is asked for, not when the script is read
    from vs_sr.backends import eager

    runner = eager.open(request)
    counts = Counter()

    def counted(name, *arguments):
        counts[name] += 1
        return getattr(runner.network, name)(*arguments)

    def close():
        runner.close()
        log.info("%s: %s", request.model.name, ", ".join(f"{count} x {name}" for name, count in counts.items()))

    methods = {name: partial(counted, name) for name in METHODS[request.model.kind]}
    return replace(
        runner,
        network=methods["__call__"] if request.model.kind == "image" else SimpleNamespace(**methods),
        identity=f"counting 0.1.0 on {runner.identity}",
        close=close,
    )


@hookimpl
def vs_sr_backends():
    return [
        Backend(
            name="counting",
            summary="eager, with the number of calls in the log (an example)",
            contract=1,
            priority=-1,  # below eager's 0: for those who ask for it
            open=open,
        )
    ]
