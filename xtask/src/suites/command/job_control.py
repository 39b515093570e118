"""Drives an interactive bash in a terminal of its own: a job under heapkeeper stops, continues and ends by the
terminal's keys as any other. Arguments: the command, then nothing. Prints ok."""
import os, pty, re, select, sys, time

heapkeeper = sys.argv[1]
pid, terminal = pty.fork()
if pid == 0:
    os.environ.update(PS1="ready> ", TERM="dumb")
    os.execv("/bin/bash", ["bash", "--norc", "--noprofile", "--noediting", "-i"])
seen = ""


def until(pattern, seconds=15):
    """Reads the terminal until the pattern is there; gives what was read up to it."""
    global seen
    end = time.time() + seconds
    while not (found := re.search(pattern, seen)):
        if time.time() > end:
            sys.exit(f"waited for {pattern!r}, the terminal showed:\n{seen}")
        if select.select([terminal], [], [], 0.2)[0]:
            seen += os.read(terminal, 65536).decode(errors="replace")
    text, seen = seen[: found.end()], seen[found.end() :]
    return text


def key(text):
    os.write(terminal, text.encode())


until("ready> ")
key(f"{heapkeeper} run -- bash -c 'echo started; read line; echo got $line; sleep 100'\n")
until("started\r\n")
key("hello\n")  # the program reads the terminal: it is in the foreground
until("got hello\r\n")
key("\x1a")  # Ctrl-Z stops the whole job
until("Stopped")
until("ready> ")
key("jobs -r | wc -l\n")
until(r"0\r\n")
until("ready> ")
key("bg\n")
until("ready> ")
key("jobs -r | wc -l\n")
until(r"1\r\n")
until("ready> ")
key("fg\n")
until("sleep 100'\r\n")
time.sleep(0.3)
key("\x03")  # Ctrl-C ends it, and bash sees that a signal did
until("ready> ")
key("echo status=$?\n")
status = until(r"status=\d+\r\n")
if "status=130" not in status:
    sys.exit(f"after Ctrl-C: {status}")
until("ready> ")
key("jobs | wc -l\n")
until(r"0\r\n")
key("exit\n")
os.waitpid(pid, 0)
print("ok")
