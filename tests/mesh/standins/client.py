"""Asks what it is told to, all at once, and prints what came of it: JSON list in, JSON list out.

A task has `host` and `port`, and one of: `send` (bytes on a bare connection, and `then` more), `tls` (a request over
TLS: cert, ca, maximum, path, name; files are below $CERTIFICATES, /certificates if it is not set), or `url` (a request
through an HTTP proxy: method, headers, body).
With `hold` (seconds), one TLS connection is asked again and again until it ends, and the answer is how long it lived.
With `seconds` it does the same again and again, `rate` times a second, each on a connection of its own, and answers
with the number of requests and what went wrong.
"""

import concurrent.futures
import hashlib
import http.client
import json
import os
import socket
import ssl
import sys
import time
import warnings

warnings.simplefilter("ignore", DeprecationWarning)


def plain(task):
    with socket.create_connection((task["host"], task["port"]), timeout=2) as connection:
        connection.sendall(task["send"].encode())
        answer = connection.recv(2000)
        if "then" in task:
            connection.sendall(task["then"].encode())
            answer += connection.recv(2000)
    return {"answer": answer.decode(errors="replace")}


def tls(task):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    folder = os.environ.get("CERTIFICATES", "/certificates")
    context.load_verify_locations(folder + "/ca.pem")
    context.maximum_version = getattr(ssl.TLSVersion, task.get("maximum", "TLSv1_3"))
    if task.get("cert"):
        context.load_cert_chain(f"{folder}/{task['cert']}")
    name, path = task.get("name", task["host"]), task.get("path", "/")
    raw = socket.create_connection((task["host"], task["port"]), timeout=3)
    with context.wrap_socket(raw, server_hostname=name) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
        response = http.client.HTTPResponse(connection)
        response.begin()
        served = hashlib.sha256(connection.getpeercert(binary_form=True)).hexdigest()
        return {"status": response.status, "body": response.read().decode(), "served": served}


def hold(task):
    """Go on with one connection for as long as the server lets it live, whatever it says about closing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations("/certificates/ca.pem")
    context.load_cert_chain("/certificates/" + task["cert"])
    raw = socket.create_connection((task["host"], task["port"]), timeout=3)
    begin, answered = time.monotonic(), 0
    with context.wrap_socket(raw, server_hostname=task["host"]) as connection:
        try:
            while time.monotonic() - begin < task["hold"]:
                connection.sendall(f"GET / HTTP/1.1\r\nHost: {task['host']}\r\n\r\n".encode())
                if not connection.recv(65536):
                    break
                answered += 1
                time.sleep(0.1)
        except OSError:
            pass
    return {"answered": answered, "lived": time.monotonic() - begin}


def proxy(task):
    connection = http.client.HTTPConnection(task["host"], task["port"], timeout=15)
    connection.request(task.get("method", "GET"), task["url"], task.get("body"), task.get("headers", {}))
    response = connection.getresponse()
    return {"status": response.status, "body": response.read().decode()}


def repeat(task):
    once = {name: value for name, value in task.items() if name not in ("seconds", "rate")}
    begin, answers = time.monotonic(), []
    with concurrent.futures.ThreadPoolExecutor(max_workers=16) as workers:
        for number in range(int(task["seconds"] * task["rate"])):
            time.sleep(max(0.0, begin + number / task["rate"] - time.monotonic()))
            answers.append(workers.submit(run, once))
    wrong = [one.result() for one in answers if one.result().get("status") != 200]
    return {"requests": len(answers), "wrong": wrong[:5], "failed": len(wrong)}


def run(task):
    if "seconds" in task:
        return repeat(task)
    kind = hold if "hold" in task else tls if task.get("tls") else plain if "send" in task else proxy
    try:
        return kind(task)
    except (OSError, http.client.HTTPException) as err:
        return {"error": f"{type(err).__name__}: {err}"}


tasks = json.load(sys.stdin)
with concurrent.futures.ThreadPoolExecutor(max_workers=32) as pool:
    json.dump(list(pool.map(run, tasks)), sys.stdout)
