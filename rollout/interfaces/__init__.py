"""The ways in for people and programs. No decisions are made here."""
