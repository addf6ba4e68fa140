"""What the exercises of lessons 30 and 31 share."""

NUMBERS = "The mask holds numbers; it must hold True and False: give it dtype=torch.bool."
CLOSE = dict(rtol=1e-5, atol=1e-6)  # float32
