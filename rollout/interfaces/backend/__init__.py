"""The CLI's way to the engine: in this process, or over HTTP."""
