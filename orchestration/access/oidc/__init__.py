"""Logins by an identity provider (OpenID Connect): authorization code with PKCE, and nothing else."""
