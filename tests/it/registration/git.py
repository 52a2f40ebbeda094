import gzip, os, re, subprocess

# The repository of `acme/shop`, read over git's own HTTP: `POST /_git` says in which folder it is.
git_folder = []


def git(handler):
    """Answers what is about git; whether it was."""
    path, _, query = handler.path.partition("?")
    if path == "/_git":
        git_folder[:] = [handler.rfile.read(int(handler.headers["Content-Length"])).decode()]
        answer(handler, 200, [], b"")
        return True
    found = re.fullmatch(r"(?:/scm)?/acme/shop\.git(/info/refs|/git-upload-pack)", path)
    if not found:
        return False
    body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
    if handler.headers.get("Content-Encoding") == "gzip":
        body = gzip.decompress(body)
    known = {"PATH": os.environ["PATH"], "GIT_PROJECT_ROOT": git_folder[0], "GIT_HTTP_EXPORT_ALL": "1", "PATH_INFO": "/.git" + found[1],
             "REQUEST_METHOD": handler.command, "QUERY_STRING": query, "CONTENT_TYPE": handler.headers.get("Content-Type", ""),
             "CONTENT_LENGTH": str(len(body)), "GIT_PROTOCOL": handler.headers.get("Git-Protocol", ""), "GIT_CONFIG_NOSYSTEM": "1"}
    said = subprocess.run(["git", "http-backend"], input=body, env=known, capture_output=True, check=True).stdout
    head, _, content = said.partition(b"\r\n\r\n")
    lines = [line.split(": ", 1) for line in head.decode().split("\r\n")]
    status = next((int(value.split()[0]) for name, value in lines if name == "Status"), 200)
    answer(handler, status, [line for line in lines if line[0] != "Status"], content)
    return True


def answer(handler, status, headers, content):
    handler.send_response(status)
    for header in headers:
        handler.send_header(*header)
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content)
