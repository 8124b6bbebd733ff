"""The API as data (profiles) and as HTTP (client, retries)."""
