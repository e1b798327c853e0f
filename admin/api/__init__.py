"""The routes. Each module is one group; openapi.yaml says what they take and give, and a test holds them to it."""
