"""The only door to SQL: engine, tables, claims, rollouts, journal, migrations."""
