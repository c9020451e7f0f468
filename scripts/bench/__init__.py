"""A benchmark of routers for coding clients: one mock provider, the same requests to all.

    __main__     the command: arguments, files, exit status
    benchmark    start everybody, measure in turns, end everybody
    plan         PURE  who is measured with what, in which order
    bodies       PURE  the requests: shape-true bodies, no two alike
    provider     a process: the mock provider, pre-encoded answers
    driver       the clients: closed loops and an open loop, latencies by perf_counter
    samples      PURE  what the driver saw, as medians, percentiles and rates
    processes    CPU time and memory of a tree of processes
    measure      one turn: the driver let loose on a server
    contestants  who there is, and the command that starts each
    servers      starting, seeing ready, and ending them
    peers        other people's routers, installed apart from the tree
    footprint    memory by the room, and a start without LiteLLM
    deciding     what it costs to decide a route
    machine      what it was measured on
    results      PURE  all runs of one benchmark, and the ratios between contestants
    limits       PURE  what has to hold, and whether it does
    report       PURE  Markdown
    plots        PURE  SVG

What makes the figures comparable:

- Everybody runs for the whole benchmark, and turns are short: A B C, A B C. What changes on the
  machine meanwhile changes for all. A ratio is taken between neighbours of one round, and the
  median over the rounds is what counts; figures of different runs are not compared.
- No two bodies are alike: a number in the newest user message changes each time, as a conversation
  changes, so that nobody answers from a cache. `growing` bodies are conversations that get a turn
  longer with every request.
- The open loop measures from the moment at which a request was due, not from when a connection was
  free for it, so that a server that stalls is seen to stall everybody.
- What the provider was asked is counted there: an answer that did not come from it fails the run.
- Everyone logs as it does by default, to a file, and has the same models.
"""
