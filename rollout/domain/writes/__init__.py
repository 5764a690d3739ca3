"""The judgements of the write protocol: applied, not applied or unknown; drift."""
