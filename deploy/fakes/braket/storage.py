"""S3 as the SDK uses it: objects by bucket and key."""

import threading

from sqdr.deploy.fakes.braket.messages import Answer, Request, error_in

__all__ = ["Storage"]

OBJECT = "binary/octet-stream"


class Storage:
    """Every object, by ``/bucket/key``."""

    def __init__(self) -> None:
        self._objects: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def put(self, path: str, content: bytes) -> None:
        """Keep an object."""
        with self._lock:
            self._objects[path] = content

    def answer(self, request: Request) -> Answer:
        """Answer GetObject, HeadObject or PutObject."""
        if request.operation == "S3Put":
            self.put(request.path, request.body)
            return Answer(200)
        with self._lock:
            found = self._objects.get(request.path)
        if found is None:
            return error_in("s3", 404, "NoSuchKey", "The specified key does not exist.")
        return Answer(200, found, OBJECT)
