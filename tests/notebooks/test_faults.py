"""What happens on a learner's machine: a killed kernel, an endless loop, a disk that takes nothing, two notebooks."""

import os
import signal
import time
from contextlib import contextmanager

import pytest
from jupyter_client.manager import start_new_kernel
from notebooks.test_notebooks import guarded

pytestmark = pytest.mark.timeout(180)

START = """
from compresslab import lesson
from compresslab.optimizers import exercises
lesson.setup("10_optimizers_by_hand")
"""
SOLVE = """
report = exercises.momentum.check(exercises.momentum.solution)
print(report.status, report.note)
"""
LOCK = """
guess = lesson.predict("10/lr-limit", "The largest stable learning rate?", low=0, high=1)
guess.choice.value = 0.25
guess.lock()
"""


class Kernel:
    def __init__(self, manager, client):
        self.manager, self.client = manager, client

    def run(self, code):
        """What a cell says, and the name of the error it ends with, or ""."""
        said = []

        def hear(message):
            content = message["content"]
            said.append(content.get("text") or content.get("data", {}).get("text/plain", ""))

        reply = self.client.execute_interactive(code, timeout=60, output_hook=hear)["content"]
        assert reply["status"] != "aborted", "the kernel threw the request away"
        return "".join(said), reply.get("ename", "")


@contextmanager
def kernel(home):
    manager, client = start_new_kernel(env=guarded(home), startup_timeout=60)
    try:
        yield Kernel(manager, client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_a_killed_kernel_loses_no_progress(tmp_path):
    with kernel(tmp_path) as lab:
        assert lab.run(START)[1] == ""
        assert lab.run(SOLVE)[0].split() == ["solved"]
        assert lab.run(LOCK)[1] == ""
        os.kill(lab.manager.provisioner.pid, signal.SIGKILL)  # what the system does when memory is short
    with kernel(tmp_path) as lab:
        lab.run(START)
        assert "Optimizers by hand: 1 of 5 exercises solved, 1 of 4 predictions locked" in lab.run("lesson.board()")[0]
        assert lab.run(LOCK.splitlines()[1] + "\nprint(guess.locked)")[0] == "0.25\n", "the locked answer is there"


def test_a_loop_without_end_is_interrupted_and_the_lesson_goes_on(tmp_path):
    looping = tmp_path / "looping"
    mine = f"""
def mine(param, grad, velocity, lr, momentum):
    open({str(looping)!r}, "w").close()
    while True:
        pass
"""
    with kernel(tmp_path) as lab:
        lab.run(START + "import torch; torch.manual_seed(3); before = torch.get_rng_state()")
        # stop_on_error=False: the kernel would throw away what is sent right behind the error
        message = lab.client.execute(mine + "exercises.momentum.check(mine)", stop_on_error=False)
        while not looping.exists():  # an interrupt before it would stop torch's own imports half way
            time.sleep(0.05)
        lab.manager.interrupt_kernel()
        while (reply := lab.client.get_shell_msg(timeout=30))["parent_header"]["msg_id"] != message:
            pass
        assert reply["content"]["ename"] == "KeyboardInterrupt"
        assert "True" in lab.run("print(torch.equal(before, torch.get_rng_state()))")[0], "the random state is put back"
        said, error = lab.run(SOLVE)
        assert (said.split(), error) == (["solved"], "")


def test_a_folder_that_takes_nothing_is_told_in_a_sentence_and_the_lesson_goes_on(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with kernel(tmp_path / "file" / "home") as lab:
        assert lab.run(START)[1] == ""
        said, error = lab.run(SOLVE)
        assert error == "" and "Progress is kept only until this notebook closes" in said
        assert "1 of 5 exercises solved" in lab.run("lesson.board()")[0], "it is kept in memory"


def test_two_notebooks_keep_each_others_progress(tmp_path):
    with kernel(tmp_path) as one, kernel(tmp_path) as two:
        assert one.run(START)[1] == two.run(START)[1] == ""
        assert one.run(SOLVE)[1] == two.run(LOCK)[1] == ""
        boards = {lab.run("lesson.board()")[0] for lab in (one, two)}
        assert len(boards) == 1 and "1 of 5 exercises solved, 1 of 4 predictions locked" in boards.pop()
