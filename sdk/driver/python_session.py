"""The inside of a Python session: runs cells one after another in one namespace, like a notebook.

Started as `python3 -u -c SOURCE` with stdin open. The first line of stdin is {"nonce": "<32 hex digits>"}; each line after
it is {"id": N, "code": "..."}. What the cells print goes to stdout and stderr as it is. Between it, the driver writes
frames: the byte 0x1e, the nonce, one of `+` (more follows) and `.` (last piece), four hex digits of length, and as many
bytes. Pieces joined are one JSON object. A piece and its head are at most 4096 bytes, which a pipe takes whole or not at
all (POSIX, write(2)): nothing that a child process prints can come between. Prints cannot make a frame by accident or
by reading the source: the nonce is random and in no argument list. A cell that searches the driver's memory for it deceives only
whoever asked for its result.

Frames: {"type": "ready", "python": VERSION}, then for each cell {"type": "begun", "id": N} on stdout, from which on an
interrupt ends it, {"type": "result", "id": N, ...} there, and {"type": "end", "id": N} on stderr, before which everything is
out that the cell wrote there.
"""


def main():
    import ast
    import base64
    import inspect
    import io
    import json
    import linecache
    import os
    import select
    import signal
    import sys
    import traceback

    piece_bytes = 3900
    most_text = 65_536
    most_rich = 1_048_576
    most_rows = 1_000
    most_columns = 100
    most_cell = 1_000
    most_image = 4_194_304
    most_results = 64
    most_result = 6 << 20  # bytes of one result as JSON in UTF-8: room for an image in base64
    own = os.getpid()
    private = {1: os.dup(1), 2: os.dup(2)}
    commands = os.fdopen(os.dup(0), "rb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    mark = b"\x1e" + json.loads(commands.readline())["nonce"].encode("ascii")
    state = {"busy": False, "loop": None, "short": False}

    def write_all(fd, data):
        while data:
            try:
                data = data[os.write(fd, data):]
            except BlockingIOError:  # a cell may have made the pipe non-blocking
                select.select([], [fd], [])

    def send(fd, message):
        body = json.dumps(message).encode("ascii")
        pieces = [body[at:at + piece_bytes] for at in range(0, len(body), piece_bytes)]
        for number, piece in enumerate(pieces, 1):
            head = b"." if number == len(pieces) else b"+"
            write_all(private[fd], mark + head + b"%04x" % len(piece) + piece)

    def clip(text, most=most_text):
        text = text if isinstance(text, str) else str(text)
        return (text, False) if len(text) <= most else (text[:most], True)

    def flush():
        for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
            try:
                stream.flush()
            except Exception:
                pass

    def plain(value):
        """A table cell as JSON holds it; what JSON has no word for becomes text."""
        if value is None or isinstance(value, (bool, str)):
            return value[:most_cell] if isinstance(value, str) else value
        if hasattr(value, "item") and getattr(value, "shape", None) == ():
            value = value.item()
        if isinstance(value, int) and abs(value) < 2**53:
            return value
        if isinstance(value, float):
            return value if value - value == 0 else None
        text = str(value)
        return None if text in ("NaT", "<NA>") else text[:most_cell]

    def table(frame):
        rows, columns = frame.shape
        part = frame.iloc[:most_rows, :most_columns]
        return {
            "type": "table",
            "columns": [str(name)[:most_cell] for name in part.columns],
            "rows": [[plain(value) for value in row] for row in part.itertuples(index=False, name=None)],
            "index": [str(name)[:most_cell] for name in part.index],
            "totalRows": int(rows),
            "totalColumns": int(columns),
            "truncated": rows > most_rows or columns > most_columns,
        }

    def image(data, mime="image/png"):
        if len(data) > most_image:
            return {"type": "text", "text": "an image of %d bytes, which is more than %d" % (len(data), most_image), "truncated": True}
        return {"type": "image", "mime": mime, "data": base64.b64encode(data).decode("ascii")}

    def figure_image(figure):
        out = io.BytesIO()
        figure.savefig(out, format="png", bbox_inches="tight")
        return image(out.getvalue())

    def fits(made):
        """Whether a result is not too long; what is far too long is never held as a whole."""
        size = 0
        for part in json.JSONEncoder(ensure_ascii=False).iterencode(made):
            size += len(part.encode("utf-8", "backslashreplace"))
            if size > most_result:
                return False
        return True

    def shown(value):
        """What a value shows itself as; its text, which is said to be cut, where that would be too long."""
        made = rich(value)
        if fits(made):
            return made
        state["short"] = True
        return {"type": "text", "text": clip(repr(value))[0], "truncated": True}

    def rich(value):
        """One result, the richest that is understood here."""
        pandas = sys.modules.get("pandas")
        if pandas is not None and isinstance(value, getattr(pandas, "DataFrame", ())):
            return table(value)
        if pandas is not None and isinstance(value, getattr(pandas, "Series", ())):
            return table(value.to_frame())
        figure = sys.modules.get("matplotlib.figure")
        if figure is not None and isinstance(value, figure.Figure):
            return figure_image(value)
        if not isinstance(value, type):
            for name, mime in (("_repr_png_", "image/png"), ("_repr_jpeg_", "image/jpeg"), ("_repr_svg_", "image/svg+xml")):
                made = getattr(value, name)() if hasattr(value, name) else None
                if isinstance(made, str):
                    made = made.encode("utf-8", "replace")
                if isinstance(made, bytes):
                    return image(made, mime)
            made = value._repr_html_() if hasattr(value, "_repr_html_") else None
            if isinstance(made, str):
                html, cut = clip(made, most_rich)
                return {"type": "html", "html": html, "truncated": cut}
        if isinstance(value, (dict, list, tuple)):
            try:
                text = json.dumps(value, allow_nan=False)
                if len(text) <= most_rich:
                    return {"type": "json", "value": json.loads(text)}
            except (TypeError, ValueError, RecursionError):
                pass
        text, cut = clip(repr(value))
        return {"type": "text", "text": text, "truncated": cut}

    results = []

    def display(*values):
        """Adds values to the results of this cell."""
        for value in values:
            if len(results) < most_results:
                results.append(shown(value))

    names = {"__name__": "__main__", "__builtins__": __builtins__, "display": display}
    module = type(sys)("__main__")
    module.__dict__.update(names)
    names = module.__dict__
    sys.modules["__main__"] = module
    sys.argv = [""]
    os.environ.setdefault("MPLBACKEND", "Agg")
    if sys.path[:1] != [""]:
        sys.path.insert(0, "")

    def evaluate(code):
        if not code.co_flags & inspect.CO_COROUTINE:
            return eval(code, names)
        import asyncio

        if state["loop"] is None:
            state["loop"] = asyncio.new_event_loop()
            asyncio.set_event_loop(state["loop"])
        return state["loop"].run_until_complete(eval(code, names))

    def execute(number, source):
        """Runs the cell; the answer is the value of its last line if that is an expression, and whether it is."""
        file = "<cell %d>" % number
        linecache.cache[file] = (len(source), None, source.splitlines(True), file)
        tree = ast.parse(source, file)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        if tree.body:
            evaluate(compile(tree, file, "exec", flags))
        if last is None or source.rstrip().endswith(";"):
            if last is not None:
                evaluate(compile(ast.Expression(last.value), file, "eval", flags))
            return None
        return evaluate(compile(ast.Expression(last.value), file, "eval", flags))

    def is_open_figure(value):
        """Whether `pictures` shows it anyway."""
        plots = sys.modules.get("matplotlib.pyplot")
        return plots is not None and any(plots.figure(number) is value for number in plots.get_fignums())

    def pictures():
        """The figures that the cell left open, as images; they are closed."""
        plots = sys.modules.get("matplotlib.pyplot")
        if plots is None:
            return
        for number in plots.get_fignums():
            if len(results) < most_results:
                results.append(figure_image(plots.figure(number)))
        plots.close("all")

    def told(error):
        """An exception as its reader needs it: without the frames of this driver."""
        trace = error.__traceback__
        while trace is not None and not trace.tb_frame.f_code.co_filename.startswith("<cell "):
            trace = trace.tb_next
        try:
            shown = traceback.TracebackException(type(error), error, trace)
            if shown.stack and shown.stack[-1].name == "interrupted":
                del shown.stack[-1]
            lines = list(shown.format())
            value = str(error)
        except BaseException:
            lines, value = [], "an exception that cannot be shown"
        return {"name": type(error).__name__, "value": clip(value)[0], "traceback": "".join(lines)[-most_text:]}

    def begin(number):
        """From here on an interrupt ends the cell; one that comes while that is told waits, and cuts no frame."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            state["busy"] = True
            send(1, {"type": "begun", "id": number})
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})

    def run(number, source):
        results.clear()
        state["short"] = False
        text, error = None, None
        try:
            begin(number)
            value = execute(number, source)
            if value is not None:
                names["_"] = value
                if not is_open_figure(value) and len(results) < most_results:
                    results.append(shown(value))
                text = clip(repr(value))[0]
            pictures()
        except BaseException as thrown:  # SystemExit and KeyboardInterrupt end the cell, not the session
            error = told(thrown)
        finally:
            state["busy"] = False
        if os.getpid() != own:  # a fork that came back from the cell is not the session
            flush()
            os._exit(1 if error else 0)
        flush()
        return {"type": "result", "id": number, "text": text, "results": list(results), "truncated": state["short"], "error": error}

    def interrupted(_number, _frame):
        if state["busy"]:
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupted)
    send(1, {"type": "ready", "python": "%d.%d.%d" % sys.version_info[:3]})
    while True:
        line = commands.readline()
        if not line:
            break
        cell = json.loads(line)
        try:
            answer = run(cell["id"], cell["code"])
        except KeyboardInterrupt as late:  # it came between the cell's end and its being known
            state["busy"] = False
            answer = {"type": "result", "id": cell["id"], "text": None, "results": [], "error": told(late)}
        send(2, {"type": "end", "id": cell["id"]})
        send(1, answer)


main()
