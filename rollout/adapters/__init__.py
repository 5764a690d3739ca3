"""Adapters: the only code that uses other systems and their protocols, one package for each of them."""
