"""The only code that knows SQL: engine, tables, claims, rollouts, journal, migrations."""
