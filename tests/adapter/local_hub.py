"""A hub of one process on the loopback interface: enough of its protocol to push and to fetch."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


class LocalHub:
    """Keeps what is committed in memory; a context manager that serves."""

    def __init__(self) -> None:
        self.repos: dict[str, dict[str, bytes]] = {}
        self.created: list[dict] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hub._get(self, body=True)

            def do_HEAD(self) -> None:
                hub._get(self, body=False)

            def do_POST(self) -> None:
                hub._post(self, self.rfile.read(int(self.headers.get("Content-Length", 0))))

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> LocalHub:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def sha(self, repo: str) -> str:
        """Name the state of a repository, as 40 hex digits."""
        return hashlib.sha1(repr(sorted(self.repos[repo].items())).encode()).hexdigest()

    def _get(self, request: BaseHTTPRequestHandler, *, body: bool) -> None:
        parts = [unquote(part) for part in urlsplit(request.path).path.strip("/").split("/")]
        if parts[:2] == ["api", "models"]:
            repo = "/".join(parts[2:4])
            if repo not in self.repos:
                return self._send(request, 404, b"{}")
            files = self.repos[repo]
            about: object = {
                "id": repo,
                "sha": self.sha(repo),
                "siblings": [{"rfilename": name} for name in files],
            }
            if parts[4] == "tree":
                about = [
                    {
                        "type": "file",
                        "path": name,
                        "size": len(content),
                        "oid": hashlib.sha1(content).hexdigest(),
                    }
                    for name, content in files.items()
                ]
            return self._send(request, 200, json.dumps(about).encode())
        content = self.repos.get("/".join(parts[:2]), {}).get("/".join(parts[4:]))
        if content is None:
            return self._send(request, 404, b"", {"X-Error-Code": "EntryNotFound"})
        tags = {
            "X-Repo-Commit": self.sha("/".join(parts[:2])),
            "ETag": f'"{hashlib.sha1(content).hexdigest()}"',
        }
        return self._send(request, 200, content, tags, body=body)

    def _post(self, request: BaseHTTPRequestHandler, sent: bytes) -> None:
        parts = urlsplit(request.path).path.strip("/").split("/")
        answer: dict = {}
        if parts == ["api", "repos", "create"]:
            asked = json.loads(sent)
            repo = f"{asked.get('organization') or 'someone'}/{asked['name']}"
            self.created.append(asked)
            answer = {"url": f"{self.url}/{repo}", "name": repo, "id": repo}
            if repo in self.repos:
                return self._send(request, 409, json.dumps(answer).encode())
            self.repos[repo] = {}
        elif parts[4] == "preupload":
            files = json.loads(sent)["files"]
            answer = {
                "files": [
                    {"path": one["path"], "uploadMode": "regular", "shouldIgnore": False}
                    for one in files
                ]
            }
        elif parts[4] == "commit":
            repo = "/".join(parts[2:4])
            for line in map(json.loads, sent.decode().splitlines()):
                if line["key"] == "file":
                    value = line["value"]
                    self.repos[repo][value["path"]] = base64.b64decode(value["content"])
            sha = self.sha(repo)
            answer = {"commitUrl": f"{self.url}/{repo}/commit/{sha}", "commitOid": sha}
        return self._send(request, 200, json.dumps(answer).encode())

    @staticmethod
    def _send(
        request: BaseHTTPRequestHandler,
        status: int,
        content: bytes,
        headers: dict[str, str] | None = None,
        *,
        body: bool = True,
    ) -> None:
        request.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            request.send_header(name, value)
        request.end_headers()
        if body:
            request.wfile.write(content)
