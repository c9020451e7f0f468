"""The lives of the processes that the daemon owns.

lifecycle    one process's life as a table: wanted x state x event; pure
backoff      when a process that died may start again; pure
process      the operating system's door: spawn, signal, wait, last words
supervisor   carries out what the table says for one life
generations  a set of workers that share a config; one replaces another
"""
