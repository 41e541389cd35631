#!/usr/bin/env python3
"""A reward of generated code: the share of the prompt's tests that it passes, each completion in a process of its own.

    reward: {math: 0, command: 1, command_line: "python3 examples/rewards/code_tests.py"}

reads   {"id": 7, "answer": "...```python\\ndef add(a, b): ...```", "fields": {"tests": ["assert add(1, 2) == 3"]}, ...}
writes  {"id": 7, "reward": 1.0}        or   {"id": 7, "error": "why it cannot be judged"}

The process has limits of processor time, memory, file size and open files, an empty folder, an empty environment, and no network
where `unshare` may take it away (it says at its start whether it may). That keeps accidents small. It is no wall against code that
sets out to harm: run the learner, or this judge, in a container for that (docs/rewards.md).
"""
import concurrent.futures
import json
import os
import re
import resource
import secrets
import signal
import subprocess
import sys
import tempfile
import threading

SECONDS = float(os.environ.get("CODE_TESTS_SECONDS", "5"))
BYTES = 512 << 20

# Runs inside the process. What the code prints goes nowhere; only who knows the number can say that a test passed.
INSIDE = r"""
import json, os, sys
task = json.loads(sys.stdin.read())
names = {"__name__": "answer"}
exec(compile(task["code"], "answer.py", "exec"), names)
passed = 0
for test in task["tests"]:
    try:
        exec(compile(test, "test.py", "exec"), dict(names))
        passed += 1
    except BaseException:
        pass
os.write(3, f"{task['number']} {passed}".encode())
"""


def without_network():
    """The words before a command that take the network from it; none where that is not permitted."""
    for words in (["unshare", "--net"], ["unshare", "--user", "--map-root-user", "--net"]):
        try:
            if subprocess.run(words + ["true"], capture_output=True, timeout=10).returncode == 0:
                return words
        except (OSError, subprocess.TimeoutExpired):
            pass
    return []


def limit():
    seconds = int(SECONDS) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
    resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def code_of(answer):
    """The last fenced block, else the whole answer."""
    blocks = re.findall(r"```(?:python|py)?\s*\n(.*?)```", answer, re.DOTALL)
    return blocks[-1] if blocks else answer


def share_passed(code, tests, prefix):
    number = secrets.token_hex(16)
    ours, theirs = os.pipe()
    # The child knows the pipe as descriptor 3.
    shell = f"exec 3>&{theirs}; exec \"$0\" \"$@\""
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            ["/bin/bash", "-c", shell, *prefix, sys.executable, "-I", "-c", INSIDE], cwd=folder, env={},
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, pass_fds=(theirs,),
            preexec_fn=limit, start_new_session=True)
        os.close(theirs)
        try:
            task = json.dumps({"code": code, "tests": tests, "number": number}).encode()
            process.communicate(task, timeout=SECONDS)
        except subprocess.TimeoutExpired:
            pass
        finally:
            # Whatever it started goes with it.
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()
        os.set_blocking(ours, False)
        try:
            said = os.read(ours, 200).decode(errors="replace").split()
        except BlockingIOError:
            said = []
        os.close(ours)
    return int(said[1]) / len(tests) if len(said) == 2 and said[0] == number else 0.0


def judge(line, prefix):
    query = json.loads(line)
    tests = query.get("fields", {}).get("tests")
    tests = [tests] if isinstance(tests, str) else tests
    if not isinstance(tests, list) or not tests or not all(isinstance(test, str) for test in tests):
        return {"id": query["id"], "error": "the prompt has no \"tests\": a text of Python, or a list of texts"}
    return {"id": query["id"], "reward": share_passed(code_of(query["answer"]), tests, prefix)}


def main():
    prefix = without_network()
    print(f"code_tests: the code runs {'without' if prefix else 'WITH'} a network", file=sys.stderr, flush=True)
    writing = threading.Lock()

    def reply(line):
        try:
            result = judge(line, prefix)
        except Exception as error:  # one bad line must not end the judge
            result = {"id": json.loads(line).get("id"), "error": repr(error)}
        with writing:
            print(json.dumps(result), flush=True)

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for line in sys.stdin:
            pool.submit(reply, line)


if __name__ == "__main__":
    main()
