"""The protocol: state, PKCE, transport, token answers. Knows no model and no provider."""
