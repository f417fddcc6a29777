"""A plain, slow, obviously right ledger, and what it takes to put the same questions to it and to the real one.

`operations`: what can be asked, and random sequences of it. `ledger`: the model. `client` and `domain`: the same
questions put to the service through its client, and to the pure rules without any I/O.
"""
