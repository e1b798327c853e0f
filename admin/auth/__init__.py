"""Who is calling, and what may they do: Supabase tokens, checked here and confirmed by the auth server.

Neither check is enough alone (measured on the real server): ``GET /user`` accepts foreign ``aud`` and ``iss``, tokens
that never expire and anonymous users; a signature check accepts people who were logged out, banned or deleted.
"""
