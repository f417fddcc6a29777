"""Fault injection: real processes, real signals, real links, and callers who remember what they were told.

`make faults` runs every row of the table at a tenth of its rounds, `make faults-full` all of them:

    python -m tests.faults --list
    python -m tests.faults --only 6,7a --seed 1234

Each row makes the same comparison: what callers were told (history.py) with what the database holds afterwards. A run
with too little traffic does not count, and each detector is shown to detect by a control, something that breaks.
"""
