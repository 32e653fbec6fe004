"""A camera: as much of RTSP (RFC 2326) as a player asks for, with 16-bit samples over TCP."""

from __future__ import annotations

import socketserver
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import numpy as np

SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=made up\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=audio 0 RTP/AVP 96\r\na=rtpmap:96 L16/{rate}/1\r\na=control:track1\r\n"
)


@contextmanager
def camera(samples: np.ndarray, rate: int) -> Iterator[str]:
    """Sends int16 samples to whoever plays its address, a little faster than they sound, and then
    closes the connection."""

    class Session(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                while self.answer():
                    pass

        def answer(self) -> bool:
            lines = []
            while line := self.rfile.readline().decode().strip():
                lines.append(line)
            if not lines:
                return False
            method, url, _ = lines[0].split()
            (number,) = [x.partition(":")[2].strip() for x in lines if x.startswith("CSeq")]
            headers, body = {"CSeq": number, "Session": "1"}, ""
            if method == "OPTIONS":
                headers["Public"] = "DESCRIBE, SETUP, PLAY, TEARDOWN"
            elif method == "DESCRIBE":
                body = SDP.format(rate=rate)
                headers |= {"Content-Type": "application/sdp", "Content-Base": f"{url}/"}
            elif method == "SETUP":
                headers["Transport"] = "RTP/AVP/TCP;unicast;interleaved=0-1"
            head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            length = f"Content-Length: {len(body)}\r\n" if body else ""
            self.wfile.write(f"RTSP/1.0 200 OK\r\n{head}{length}\r\n{body}".encode())
            if method == "PLAY":
                self.play()
            return method not in ("PLAY", "TEARDOWN")

        def play(self) -> None:
            size = 320
            for i, at in enumerate(range(0, len(samples), size)):
                payload = samples[at : at + size].astype(">i2").tobytes()
                packet = struct.pack(">BBHII", 0x80, 96, i & 0xFFFF, at, 1) + payload
                self.wfile.write(struct.pack(">cBH", b"$", 0, len(packet)) + packet)
                time.sleep(0.5 * size / rate)

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = daemon_threads = True

    with Server(("127.0.0.1", 0), Session) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield f"rtsp://127.0.0.1:{server.server_address[1]}/live"
        finally:
            server.shutdown()
            thread.join()
