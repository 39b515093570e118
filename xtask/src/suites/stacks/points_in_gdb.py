"""What gdb sees at each point: its number and the program counters of its callers, outside the library."""
import gdb

FRAMES_MAX = 64
NO_CODE_BELOW = 0x10000


class Point(gdb.Breakpoint):
    def __init__(self, file):
        super().__init__("*hk_stack_point", internal=True)
        self.file = file

    def stop(self):
        frame = gdb.newest_frame()
        number = int(frame.read_register("rdi"))
        own = gdb.current_progspace().solib_name(frame.pc())
        counters = []
        interrupted = False
        while frame is not None and len(counters) < FRAMES_MAX:
            # Below the loader's first code, which has no tables, gdb goes on into the program's arguments.
            if frame.pc() < NO_CODE_BELOW:
                break
            # Inlined functions and tail calls are gdb's own additions.
            if frame.type() in (gdb.NORMAL_FRAME, gdb.SIGTRAMP_FRAME):
                if counters or gdb.current_progspace().solib_name(frame.pc()) != own:
                    counters.append(frame.pc() + interrupted)
                interrupted = frame.type() == gdb.SIGTRAMP_FRAME
            frame = frame.older()
        self.file.write(" ".join("%x" % n for n in [number] + counters) + "\n")
        return False


gdb.execute("set pagination off")
gdb.execute("set confirm off")
gdb.execute("set backtrace past-main on")
gdb.execute("set backtrace past-entry on")
gdb.execute("set startup-with-shell off")
gdb.execute("set debuginfod enabled off")
gdb.execute("set breakpoint pending on")
gdb.execute("set print thread-events off")
gdb.execute("handle SIGUSR1 nostop noprint pass")


def run(library, output):
    """Sets the breakpoint as soon as the library is there, and runs the program to its end."""
    with open(output, "w") as file:

        def loaded(event):
            if event.new_objfile.filename.endswith(library):
                Point(file)

        gdb.events.new_objfile.connect(loaded)
        gdb.execute("run")
        code = gdb.convenience_variable("_exitcode")
    gdb.execute("quit %d" % (1 if code is None else int(code)))
