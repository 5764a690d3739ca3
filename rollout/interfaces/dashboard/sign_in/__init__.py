"""Sign-in for the pages: sessions and OIDC."""
