"""Writing one object: small ones in one request, large ones in parts, each tried again by itself."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

# Amazon takes parts of 5 MiB to 5 GiB, 10,000 of them at most.
PART_BYTES = 32 * 2**20
MOST_PARTS = 10_000
THREADS = 4

Call = Callable[..., Any]
Asked = Callable[[Callable[[], Any]], Any]


def upload(call: Call, asked: Asked, key: str, content: bytes) -> None:
    """Write an object, whole or not at all; `call` asks the server once, `asked` as often as it takes.

    OSError when that does not help.
    """
    if len(content) <= PART_BYTES:
        asked(lambda: call("put_object", Key=key, Body=content))
        return
    number = asked(lambda: call("create_multipart_upload", Key=key))["UploadId"]
    try:
        _send(call, asked, key, number, content)
    except BaseException:
        # Whatever it was, Ctrl-C too: parts that are left behind are paid for. It is raised again.
        asked(lambda: call("abort_multipart_upload", Key=key, UploadId=number))
        raise


def _send(call: Call, asked: Asked, key: str, number: str, content: bytes) -> None:
    size = max(PART_BYTES, -(-len(content) // MOST_PARTS))
    view = memoryview(content)

    def send(part: int) -> dict[str, Any]:
        body = bytes(view[(part - 1) * size : part * size])
        sent = asked(lambda: call("upload_part", Key=key, UploadId=number, PartNumber=part, Body=body))
        return {"PartNumber": part, "ETag": sent["ETag"]}

    with ThreadPoolExecutor(THREADS) as pool:
        parts = list(pool.map(send, range(1, -(-len(content) // size) + 1)))

    def finish() -> None:
        try:
            call("complete_multipart_upload", Key=key, UploadId=number, MultipartUpload={"Parts": parts})
        except FileNotFoundError:
            # The answer to an earlier attempt was lost: there is no such upload any more, but the object.
            if call("head_object", Key=key)["ContentLength"] != len(content):
                raise

    asked(finish)
