"""How long tests wait for what must come: they fail only if it does not come at all, however slow the machine is."""

PATIENCE_SECONDS = 120.0
