"""Work that runs by the clock: ticks, and the work that each tick asks for."""
