"""PID 1 of an app container: starts the app, watches it, keeps its log, and answers for it on 127.0.0.1:50051.

Three threads of its own, so that none of them can hold up another:
  main       signals, reaping, restarts, and the judgement of how the app is    (supervisor, verdict, listeners)
  log-pump   the app's pipes into a bounded ring                                (logs)
  log-mirror the same lines on to the container's stdout, dropping the oldest when nobody reads it  (logs)
gRPC has a small pool besides (service), and an HTTP probe runs in a thread that lives as long as its request.
"""
