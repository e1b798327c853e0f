"""gRPC stand-in: says its version, and the message back; Stream takes as many seconds as the message says."""

import asyncio
import os

import grpc

VERSION = "v1"


async def say(message, context):
    return f"{VERSION} {message.decode().rpartition(' ')[2]}\n".encode() + message


async def stream(message, context):
    number, seconds = message.decode().split()
    yield f"{VERSION} {number}".encode()
    for _ in range(int(float(seconds) * 2)):
        await asyncio.sleep(0.5)
        yield b"still here"
    yield f"done {number}".encode()


async def serve():
    server = grpc.aio.server()
    methods = {"Say": grpc.unary_unary_rpc_method_handler(say), "Stream": grpc.unary_stream_rpc_method_handler(stream)}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("chaos.Echo", methods)])
    server.add_insecure_port(f"{os.environ.get('HOST', '0.0.0.0')}:{os.environ.get('PORT', '8000')}")
    await server.start()
    await server.wait_for_termination()


def main():
    asyncio.run(serve())


if __name__ == "__main__":
    main()
