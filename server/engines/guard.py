"""The process between Holdfast and one engine, so that no engine outlives Holdfast.

Run as a script by `process.spawn`, never imported by it: `guard.py CONTROL_FD PROGRAM ARG...`.
Standard library only; it must start in milliseconds and never break.

Holdfast and the guard share a socket. The guard writes one line when the engine runs, and one when
nothing of it is left; Holdfast writes a byte to ask the engine to end. When Holdfast dies, however
it dies, the kernel closes its end, and the guard kills all that the engine started:

    guard -> Holdfast    "pid 4242\\n" or "error No such file\\n", later "exit -9\\n"
    Holdfast -> guard    b"T": SIGTERM to the engine's group; end of file: kill everything now

Why a process, and not the parent-death signal alone: that signal is bound to the *thread* that
forked, is not inherited by the engine's own children (vLLM has several, and a killed API server
left them holding the GPU: vllm#55510), and leaves a race between fork and prctl. The guard has one
thread, is the subreaper of everything below it, and so finds even children that changed their
process group. Should the guard itself be killed, the parent-death signal takes the engine along.
"""

import contextlib
import ctypes
import os
import resource
import select
import signal
import socket
import subprocess
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h
PR_SET_CHILD_SUBREAPER = 36
FIRST_VICTIM = "500"  # oom_score_adj: short of memory, the kernel takes the engine, not Holdfast


def main(control: socket.socket, argv: list[str]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core holds prompts, and gigabytes
    os.umask(0o077)  # the engine's socket is for this user only
    child_died = wake_on_child_death()
    guard = os.getpid()

    def before_exec() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != guard:  # it died before the line above
            os._exit(1)
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
            score.write(FIRST_VICTIM)

    try:
        engine = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            process_group=0,
            preexec_fn=before_exec,  # safe: this process has one thread
        )
    except OSError as error:
        control.sendall(f"error {error.strerror or error}\n".encode())
        return
    close_output()
    tell(control, f"pid {engine.pid}")
    watch(control, child_died, engine.pid)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(engine.pid, signal.SIGKILL)
    status = engine.wait()
    reap_the_rest()
    tell(control, f"exit {status}")


def watch(control: socket.socket, child_died: int, engine: int) -> None:
    """Return when the engine has exited, still unreaped, or is to be killed."""
    while not exited(engine):
        readable, _, _ = select.select([control.fileno(), child_died], [], [])
        if child_died in readable:
            os.read(child_died, 512)
        if control.fileno() in readable:
            try:
                word = control.recv(16)
            except ConnectionError:
                return
            if not word:
                return
            with contextlib.suppress(ProcessLookupError):
                os.killpg(engine, signal.SIGTERM)


def exited(engine: int) -> bool:
    # WNOWAIT leaves the zombie, so that neither its pid nor its group can become another's.
    options = os.WEXITED | os.WNOHANG | os.WNOWAIT
    return os.waitid(os.P_PID, engine, options) is not None


def reap_the_rest() -> None:
    """Kill and reap every descendant that is left: orphans come to us as their subreaper."""
    while True:
        for child in children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def children() -> list[int]:
    own = str(os.getpid())
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        with contextlib.suppress(OSError), open(f"/proc/{name}/stat") as stat:
            # The command, in parentheses, may hold anything: the parent is the second field after.
            if stat.read().rpartition(")")[2].split()[1] == own:
                found.append(int(name))
    return found


def wake_on_child_death() -> int:
    """A file descriptor that becomes readable when a child dies.

    SIGTERM and its like get handlers that do nothing, instead of being ignored: what is ignored
    would stay ignored in the engine.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    return reader


def close_output() -> None:
    """Leave the log to the engine: its end is then the end of everything that could write to it."""
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)


def tell(control: socket.socket, line: str) -> None:
    with contextlib.suppress(OSError):  # Holdfast is gone; there is no one to tell
        control.sendall(f"{line}\n".encode())


if __name__ == "__main__":
    shared = socket.socket(fileno=int(sys.argv[1]))
    shared.set_inheritable(False)
    main(shared, sys.argv[2:])
