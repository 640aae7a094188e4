"""Baseline: FastAPI and aiokafka's send_and_wait with the same checks. Usage: fastapi_ingress.py PORT KEY KAFKA TOPIC."""

import hashlib
import hmac
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from aiokafka import AIOKafkaProducer
from fastapi import FastAPI, Request, Response

PORT, KEY, KAFKA, TOPIC = int(sys.argv[1]), sys.argv[2].encode(), sys.argv[3], sys.argv[4]


@asynccontextmanager
async def lifespan(application: FastAPI) -> AsyncIterator[None]:
    producer = AIOKafkaProducer(bootstrap_servers=KAFKA, acks="all", enable_idempotence=True)
    await producer.start()
    application.state.producer = producer
    print("ready", flush=True)  # noqa: T201 - who started it waits for this word
    yield
    await producer.stop()


application = FastAPI(lifespan=lifespan)


@application.post("/ring/webhook")
async def webhook(request: Request) -> Response:
    body = await request.body()
    if len(body) > 256 * 1024:
        return Response(status_code=413)
    given = request.headers.get("x-signature", "")
    expected = "sha256=" + hmac.new(KEY, body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(given.encode(errors="surrogateescape"), expected.encode()):
        return Response(status_code=401)
    meta = json.loads(body)["meta"]
    await application.state.producer.send_and_wait(
        TOPIC,
        body,
        key=meta["account_id"].encode(),
        headers=[("request_id", meta["request_id"].encode())],
    )
    return Response(status_code=200)


uvicorn.run(application, host="127.0.0.1", port=PORT, log_level="warning", access_log=False, loop="uvloop", http="httptools")
