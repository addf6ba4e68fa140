"""Trials of several stages."""

from ...lesson.checking import close

NUMBERS = "The mask holds numbers; it must hold True and False: give it dtype=torch.bool."
CLOSE = dict(rtol=1e-5, atol=1e-6)  # float32


def in_turn(solution, *stages):
    """A trial that runs the `stages` until one of them comes out wrong.

    So a mistake of the first stage is told by its name, whatever else the answer does in the later ones.
    """

    def trial(fn):
        results = []
        for stage in stages:
            results.append(stage(fn))
            if not close(results[-1], stage(solution), **CLOSE):
                break
        return results

    return trial
