"""What is counted and what is said.

stats      requests, tokens, money and time, by label, model and rule; pure
usage      what one answer says it used; pure
prices     what it costs, as LiteLLM reckons it; pure
tokens     what LiteLLM says that it used, in place of an estimate; pure
bookings   what a request came to, as an entry of the ledger; pure
ledger     what has been spent, through restarts; ledger_file is its file
budgets    how much of it may be spent, and what happens then; pure
redact     what must never be written, taken out of a text; pure
names      the names that a client may choose, made harmless; pure
repeats    what comes again and again, told less and less often; pure
logs       one line a record, JSON for machines, plain for a terminal
"""
