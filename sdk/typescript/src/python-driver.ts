/**
 * The program of a Python session, run as `python3 -u -c`. It takes its standard streams for itself and gives the code that
 * it runs others in their place: what that code and its children print comes through pipes, and their stdin is at its
 * end. Requests are lines of JSON on the real stdin; answers are lines of JSON on the real stdout, each behind the word
 * that the first request named. Code of the session runs in this process and can do here what it likes: what arrives says
 * what the session claims, like everything else that a sandbox writes.
 */
export const PYTHON_DRIVER: string = String.raw`
import sys
here = sys.path.pop(0) if sys.path and sys.path[0] == "" else None
import ast, asyncio, base64, builtins, codecs, inspect, io, json, linecache, math, os, select, signal, threading, traceback, types
if here is not None:
    sys.path.insert(0, here)

TEXT_MOST, IMAGE_MOST, HTML_MOST = 65536, 4 << 20, 1 << 20
ROWS_MOST, COLUMNS_MOST, CELL_MOST, RESERVE = 1000, 100, 1000, 1 << 17
# Bytes of a result as JSON: room for an image in base64. With its text it is less than the longest line that is read.
RICH_MOST = 6 << 20

requests = os.fdopen(os.dup(0), "rb")
answers = os.dup(1)
quiet = os.open(os.devnull, os.O_RDONLY)
os.dup2(quiet, 0)
os.close(quiet)
hello = json.loads(requests.readline())
word, budget, owner = hello["word"].encode() + b" ", hello["budget"], os.getpid()

lock = threading.Lock()
state = {"running": False, "held": 0, "pending": False, "left": budget, "run": 0}

def on_interrupt(number, frame):
    if state["held"]:
        state["pending"] = True
    elif state["running"]:
        raise KeyboardInterrupt

class Held:
    # An interrupt must not cut a line in two.
    def __enter__(self):
        state["held"] += 1
    def __exit__(self, *about):
        state["held"] -= 1
        if not state["held"] and state["pending"]:
            state["pending"] = False
            if state["running"]:
                raise KeyboardInterrupt

def write(line):
    view = memoryview(line)
    while view:
        view = view[os.write(answers, view):]

def fits(value):
    # Ends where it is too long: what is far too long is never held as a whole.
    size = 0
    for part in json.JSONEncoder(ensure_ascii=False, allow_nan=False).iterencode(value):
        size += len(part.encode("utf-8", "backslashreplace"))
        if size > RICH_MOST:
            return False
    return True

def tell(frame, reserve=RESERVE):
    # False: there is no room left for it in what the sandbox lets a command write.
    if os.getpid() != owner:
        return True
    line = word + json.dumps(frame, ensure_ascii=False, allow_nan=False).encode("utf-8", "backslashreplace") + b"\n"
    if len(line) > state["left"] - reserve:
        return False
    state["left"] -= len(line)
    write(line)
    return True

def say(frame):
    if threading.current_thread() is threading.main_thread():
        with Held(), lock:
            return tell(frame)
    with lock:
        return tell(frame)

pipes = {}
lost = set()
short = set()
for number, name in ((1, "stdout"), (2, "stderr")):
    reading, writing = os.pipe()
    os.dup2(writing, number)
    os.close(writing)
    os.set_blocking(reading, False)
    pipes[reading] = (name, codecs.getincrementaldecoder("utf-8")("replace"))

def drain(reading, most=65536):
    name, decoder = pipes[reading]
    try:
        data = os.read(reading, most)
    except BlockingIOError:
        return 0
    text = decoder.decode(data)
    if text and not tell({"type": "output", "run": state["run"], "stream": name, "text": text}):
        lost.add(name)
    return len(data)

def pump():
    waiting = select.poll()
    for reading in pipes:
        waiting.register(reading, select.POLLIN)
    while True:
        for reading, happened in waiting.poll():
            with lock:
                drain(reading)

def settle():
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass
    with Held(), lock:
        for reading, (name, decoder) in pipes.items():
            left = 1 << 20
            while left > 0:
                size = drain(reading, min(left, 65536))
                left -= size
                if size == 0:
                    break
            rest = decoder.decode(b"", True)
            decoder.reset()
            if rest:
                tell({"type": "output", "run": state["run"], "stream": name, "text": rest})

def cut(text, most):
    return text if len(text) <= most else text[:most]

def cell(value):
    if value is None or isinstance(value, bool):
        return value
    if hasattr(value, "item") and type(value).__module__ == "numpy":
        value = value.item()
    if isinstance(value, int):
        return value if abs(value) < 1 << 53 else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    text = str(value)
    return None if text in ("NaT", "<NA>") else cut(text, CELL_MOST)

def table(frame):
    part = frame.iloc[:ROWS_MOST, :COLUMNS_MOST]
    rows = [[cell(value) for value in row] for row in part.itertuples(index=False, name=None)]
    return {"type": "table", "columns": [cut(str(name), CELL_MOST) for name in part.columns], "index": [cut(str(name), CELL_MOST) for name in part.index],
            "rows": rows, "totalRows": int(frame.shape[0]), "totalColumns": int(frame.shape[1]), "truncated": part.shape != frame.shape}

def figure(one):
    into = io.BytesIO()
    one.savefig(into, format="png", bbox_inches="tight")
    return image("image/png", into.getvalue())

def image(kind, data):
    if isinstance(data, str):
        data = base64.b64decode(data)
    if len(data) > IMAGE_MOST:
        return {"type": "text", "text": "an image of %d bytes, which is more than %d" % (len(data), IMAGE_MOST), "truncated": True}
    return {"type": "image", "mime": kind, "data": base64.b64encode(data).decode()}

def of_class(value, module, name):
    return any(kind.__module__.split(".")[0] == module and kind.__name__ == name for kind in type(value).__mro__)

def rich(value):
    if of_class(value, "pandas", "DataFrame"):
        return table(value)
    if of_class(value, "pandas", "Series"):
        return table(value.to_frame())
    if of_class(value, "matplotlib", "Figure"):
        return figure(value)
    for method, kind in (("_repr_png_", "image/png"), ("_repr_jpeg_", "image/jpeg")):
        data = getattr(value, method, None)
        data = data() if callable(data) and not isinstance(value, type) else None
        if data:
            return image(kind, data)
    html = getattr(value, "_repr_html_", None)
    html = html() if callable(html) and not isinstance(value, type) else None
    if isinstance(html, str):
        return {"type": "html", "html": cut(html, HTML_MOST), "truncated": len(html) > HTML_MOST}
    if isinstance(value, (dict, list, tuple)):
        try:
            if len(json.dumps(value, allow_nan=False)) <= HTML_MOST:
                return {"type": "json", "value": value}
        except (TypeError, ValueError, RecursionError):
            pass
    return None

def show(value, is_last=False):
    text = repr(value)
    frame = {"type": "result", "run": state["run"], "isLast": is_last, "text": cut(text, TEXT_MOST), "truncated": len(text) > TEXT_MOST}
    try:
        frame["rich"] = rich(value)
        if not fits(frame["rich"]):
            frame["rich"], frame["truncated"] = None, True
            short.add("result")
    except Exception:
        frame["rich"] = None
    if not say(frame):
        lost.add("result")
        say({**frame, "rich": None, "text": cut(text, 256), "truncated": True})

def display(*values):
    for value in values:
        show(value)
builtins.display = display

def figures(shown):
    plot = sys.modules.get("matplotlib.pyplot")
    if plot is None:
        return
    for number in plot.get_fignums():
        one = plot.figure(number)
        if one is not shown:
            show(one)
    plot.close("all")

os.environ.setdefault("MPLBACKEND", "Agg")
main = types.ModuleType("__main__")
main.__dict__["__builtins__"] = builtins
sys.modules["__main__"] = main
loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)

def evaluate(tree, name, mode):
    code = compile(tree, name, mode, flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    value = eval(code, main.__dict__)
    return loop.run_until_complete(value) if code.co_flags & inspect.CO_COROUTINE else value

def execute(source, name):
    linecache.cache[name] = (len(source), None, source.splitlines(True), name)
    tree = ast.parse(source, name)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    if tree.body:
        evaluate(tree, name, "exec")
    value = evaluate(ast.Expression(last.value), name, "eval") if last is not None else None
    if value is not None:
        main.__dict__["_"] = value
        show(value, True)
    figures(value)

def described(error):
    trace = None if isinstance(error, SyntaxError) and str(error.filename).startswith("<cell ") else error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == "<string>":
        trace = trace.tb_next
    try:
        value = str(error)
    except Exception:
        value = "an error that cannot be shown"
    try:
        whole = traceback.TracebackException(type(error), error, trace)
        whole.stack = traceback.StackSummary.from_list([at for at in whole.stack if at.filename != "<string>" or at.name not in ("on_interrupt", "__exit__")])
        text = "".join(whole.format())
    except Exception:
        text = type(error).__name__
    return {"name": type(error).__name__, "value": cut(value, TEXT_MOST), "traceback": text[-TEXT_MOST:]}

def run(request):
    state["run"] = request["run"]
    error = None
    try:
        state["running"] = True
        try:
            with Held(), lock:
                tell({"type": "begun", "run": request["run"]}, 0)
            execute(request["code"], "<cell %d>" % request["run"])
        finally:
            state["running"] = False
    except BaseException as thrown:
        state["running"] = False
        error = described(thrown)
    if os.getpid() != owner:
        os._exit(0)
    settle()
    done = {"type": "done", "run": request["run"], "error": error, "truncated": bool(lost or short), "left": 0 if lost else state["left"]}
    lost.clear()
    short.clear()
    with Held(), lock:
        if not tell(done, 0) and not tell({**done, "error": error and {**error, "value": cut(error["value"], 256), "traceback": ""}}, 0):
            os._exit(70)

signal.signal(signal.SIGINT, on_interrupt)
threading.Thread(target=pump, daemon=True).start()
say({"type": "ready", "python": ".".join(map(str, sys.version_info[:3]))})
for line in requests:
    try:
        run(json.loads(line))
    except KeyboardInterrupt:
        pass
`;
