"""A web service on 127.0.0.1:8080 that answers every request with one word.

Sockets alone: Debian's python3-minimal has no http.server.
"""

import socket

BODY = b"service\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s"

with socket.create_server(("127.0.0.1", 8080)) as server:
    while True:
        client, _ = server.accept()
        with client:
            client.settimeout(5)
            try:
                client.recv(65536)
                client.sendall(ANSWER % (len(BODY), BODY))
            except OSError:
                pass  # the client left; the next one matters
