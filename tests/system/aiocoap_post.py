"""Posts what stdin says, a line `PAYLOAD RECEIPT` in hex each, to argv[1] by aiocoap; fails when a receipt differs."""
import asyncio
import sys

import aiocoap


async def main():
    context = await aiocoap.Context.create_client_context()
    try:
        for line in sys.stdin:
            payload, receipt = map(bytes.fromhex, line.split())
            request = aiocoap.Message(code=aiocoap.POST, uri=sys.argv[1], payload=payload, content_format=65001)
            answer = await asyncio.wait_for(context.request(request).response, 30)
            assert answer.code == aiocoap.CHANGED, answer
            assert answer.payload == receipt, answer.payload.hex()
    finally:
        await context.shutdown()

asyncio.run(main())
