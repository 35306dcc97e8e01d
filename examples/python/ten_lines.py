from caisson import Sandbox

with Sandbox.create() as box:
    print(box.exec(["echo", "hello from", box.id]).stdout, end="")
    box.files.write("plan.txt", "one\n")
    kept = box.snapshot(label="first")
    with box.fork() as other:
        other.sh("echo two >> plan.txt", check=True)
        print(kept["id"], box.files.read_text("plan.txt").split(), other.files.read_text("plan.txt").split())
