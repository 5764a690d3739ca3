"""Tokens, roles and what each may do."""
