"""What others send: webhooks, documents of calls, alerts."""
