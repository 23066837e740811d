"""Who asks us, and how they reach us: what the server of a student and the gateway share.

keys     API keys: what each permits, stored hashed
guard    what is turned away before any route sees it
arrival  requests that do not come whole in time
faults   errors as OpenAI's clients know them
listen   an ASGI service on a socket, until it is told to stop
"""
