"""What is counted and what is said.

stats      requests, tokens, money and time, by label, model and rule; pure
redact     what must never be written, taken out of a text; pure
repeats    what comes again and again, told less and less often; pure
logs       one line a record, JSON for machines, plain for a terminal
"""
