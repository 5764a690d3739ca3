"""What others send: Retell's webhooks and its documents of calls, and alerts of monitoring."""
