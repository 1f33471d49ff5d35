"""A witness as C2SP tlog-witness has it, written from the specification with `cryptography` and `hashlib` alone, that
can also be slow, dead, lying or rolled back.
"""

import base64
import hashlib
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

EMPTY = hashlib.sha256(b"").digest()


def consistent(first: int, first_root: bytes, second: int, second_root: bytes, path: list[bytes]) -> bool:
    """RFC 9162 section 2.1.4.2, word for word."""
    if first == 0:
        return not path
    if first == second:
        return not path and first_root == second_root
    if not path:
        return False
    if first & (first - 1) == 0:
        path = [first_root, *path]
    fn, sn = first - 1, second - 1
    while fn & 1:
        fn >>= 1
        sn >>= 1
    fr = sr = path[0]
    for c in path[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            fr = hashlib.sha256(b"\x01" + c + fr).digest()
            sr = hashlib.sha256(b"\x01" + c + sr).digest()
            while not fn & 1 and fn:
                fn >>= 1
                sn >>= 1
        else:
            sr = hashlib.sha256(b"\x01" + sr + c).digest()
        fn >>= 1
        sn >>= 1
    return fr == first_root and sr == second_root and sn == 0


@dataclass
class StockWitness(httpx.BaseTransport):
    """Follows one log. `answer` replaces what it would say; `delay_s` comes before anything is said."""

    name: str
    origin: str
    log_vkey: str
    clock: Callable[[], float]
    delay_s: float = 0
    slow_reads_s: float = 0  # of whoever reads what it has cosigned
    dead: bool = False
    answer: Callable[["StockWitness", httpx.Request, httpx.Response], httpx.Response] | None = None
    size: int = 0
    root: bytes = EMPTY
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    asked: list[int] = field(default_factory=list)  # sizes offered
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"https://{self.name.partition('/')[0]}"

    @property
    def public(self) -> bytes:
        return b"\x04" + self.key.public_key().public_bytes_raw()

    @property
    def key_id(self) -> bytes:
        return hashlib.sha256(self.name.encode() + b"\n" + self.public).digest()[:4]

    @property
    def vkey(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(self.public).decode()}"

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if self.dead:
            raise httpx.ConnectError("nobody is here")
        time.sleep(self.delay_s)
        if request.method == "GET":
            time.sleep(self.slow_reads_s)
        if request.method != "POST" or not request.url.path.endswith("/add-checkpoint"):
            return httpx.Response(404)
        with self._lock:
            honest = self._add(request.read())
            return honest if self.answer is None else self.answer(self, request, honest)

    def _add(self, body: bytes) -> httpx.Response:
        head, _, note = body.decode().partition("\n\n")
        old_line, *proof_lines = head.split("\n")
        old, proof = int(old_line.removeprefix("old ")), [base64.b64decode(line) for line in proof_lines]
        text, _, signatures = note.rpartition("\n\n")
        text += "\n"
        origin, size_text, root_text, rest = text.split("\n")
        size, root = int(size_text), base64.b64decode(root_text)
        self.asked.append(size)
        assert rest == ""
        if origin != self.origin:
            return httpx.Response(404)
        if not self._signed(text, signatures):
            return httpx.Response(403)
        if old > size:
            return httpx.Response(400)
        if old != self.size:
            return httpx.Response(409, headers={"Content-Type": "text/x.tlog.size"}, text=f"{self.size}\n")
        if not consistent(old, self.root, size, root, proof):
            return httpx.Response(422)
        self.size, self.root = size, root
        return httpx.Response(200, text=self.cosign(text, int(self.clock())))

    def _signed(self, text: str, signatures: str) -> bool:
        name, key_id, material = self.log_vkey.split("+", 2)
        public = Ed25519PublicKey.from_public_bytes(base64.b64decode(material)[1:])
        for line in signatures.splitlines():
            _, signer, payload = line.split(" ")
            decoded = base64.b64decode(payload)
            if signer == name and decoded[:4].hex() == key_id:
                public.verify(decoded[4:], text.encode())
                return True
        return False

    def cosign(self, text: str, at: int, key: Ed25519PrivateKey | None = None) -> str:
        """Write the signature line over a checkpoint's text."""
        signature = (key or self.key).sign(f"cosignature/v1\ntime {at}\n{text}".encode())
        payload = base64.b64encode(self.key_id + at.to_bytes(8, "big") + signature).decode()
        return f"— {self.name} {payload}\n"


def connect_to(witnesses: Iterable[StockWitness]) -> Callable[[str], httpx.Client]:
    """Make clients that reach these witnesses and nobody else."""
    by_url = {each.url: each for each in witnesses}
    return lambda url: httpx.Client(transport=by_url[url])
