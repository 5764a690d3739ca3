"""Where people and programs come in. No decisions are made here."""
