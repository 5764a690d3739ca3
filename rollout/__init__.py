"""Safe, gradual rollout of voice-agent versions on Retell phone numbers."""

__version__ = "1.0.0"
