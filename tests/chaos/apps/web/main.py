"""HTTP stand-in: says its version, the request's number, its body; `?slow=3` and `?stream=3` take three seconds."""

import asyncio
import os

from aiohttp import web

VERSION = "v1"


async def answer(request):
    number = request.path.lstrip("/")
    body = (await request.read()).decode()
    if "slow" in request.query:
        await asyncio.sleep(float(request.query["slow"]))
    if "stream" not in request.query:
        return web.Response(text=f"{VERSION} {number}\n{body or 'done ' + number}\n")
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    await response.write(f"{VERSION} {number}\n".encode())
    for _ in range(int(float(request.query["stream"]) * 2)):
        await asyncio.sleep(0.5)
        await response.write(b": still here\n")
    await response.write(f"done {number}\n".encode())
    await response.write_eof()
    return response


def main():
    app = web.Application()
    app.router.add_route("*", "/{number:.*}", answer)
    web.run_app(app, host=os.environ.get("HOST", "0.0.0.0"), port=int(os.environ.get("PORT", "8000")), access_log=None)


if __name__ == "__main__":
    main()
