"""One optimizer is for one thread at a time: another one gets an error, and no update is lost."""

import concurrent.futures
import threading

import numpy as np
import pytest
import samestep as ss
from samestep.step.one_thread import OneThread

MESSAGE = "used by another thread"


def stepping_elsewhere(step, entered, go_on):
    """Start a step in another thread and return its future, once it is inside."""
    executor = concurrent.futures.ThreadPoolExecutor(1)
    future = executor.submit(step)
    assert entered.wait(60)
    return future


@pytest.fixture
def gate():
    entered, go_on = threading.Event(), threading.Event()

    def wait(step):
        entered.set()
        assert go_on.wait(60)
        return 0.1

    yield wait, entered, go_on
    go_on.set()


def test_a_second_thread_gets_an_error_and_changes_nothing(backend, gate, tmp_path):
    wait, entered, go_on = gate
    optimizer = ss.AdamW([np.ones(3)], lr=lambda step: 0.1, backend=backend)
    optimizer.step([np.ones(3)])
    optimizer.param_groups[0]["lr"] = wait  # a schedule: the step stands still in it
    future = stepping_elsewhere(lambda: optimizer.step([np.ones(3)]), entered, go_on)
    for use in (
        lambda: optimizer.step([np.ones(3)]),
        optimizer.state_dict,
        lambda: optimizer.load_state_dict({}),
        lambda: optimizer.save(tmp_path / "file"),
        lambda: optimizer.add_param_group({"params": [np.ones(3)]}),
        lambda: optimizer.__getstate__(),
    ):
        with pytest.raises(RuntimeError, match=MESSAGE):
            use()
    go_on.set()
    future.result(60)
    optimizer.step([np.ones(3)])
    assert optimizer.steps == [3]


def test_no_update_is_lost_where_every_error_is_met_by_another_try(backend):
    """Without the error, updates of four threads were lost and all of them counted."""
    tries, taken, callers = 60, [], 4
    param = np.zeros(70_000)
    optimizer = ss.SGD([param], lr=1.0, backend=backend)
    grads = [-np.ones(70_000)]
    barrier = threading.Barrier(callers, timeout=60)

    def work(_):
        barrier.wait()
        for _ in range(tries):
            try:
                optimizer.step(grads)
            except RuntimeError as error:
                assert MESSAGE in str(error)  # noqa: PT017
            else:
                taken.append(1)

    with concurrent.futures.ThreadPoolExecutor(callers) as executor:
        list(executor.map(work, range(callers)))
    assert optimizer.steps == [len(taken)]
    assert (param == len(taken)).all()


def test_a_class_for_pytorch_says_so_too(gate):
    torch = pytest.importorskip("torch")
    import samestep.torch

    _, entered, go_on = gate
    param = torch.nn.Parameter(torch.ones(3))
    optimizer = samestep.torch.SGD([param], lr=0.1)
    param.grad = torch.ones(3)
    optimizer.step()
    advance = optimizer._advance

    def slow():
        entered.set()
        assert go_on.wait(60)
        advance()

    optimizer._advance = slow
    future = stepping_elsewhere(optimizer.step, entered, go_on)
    for use in (optimizer.step, optimizer.state_dict, lambda: optimizer.load_state_dict({})):
        with pytest.raises(RuntimeError, match=MESSAGE):
            use()
    go_on.set()
    future.result(60)
    optimizer.step()
    assert next(iter(optimizer.state.values()))["step"] == 3


def test_an_error_inside_lets_the_next_one_in():
    alone = OneThread()
    with pytest.raises(ZeroDivisionError), alone:
        raise ZeroDivisionError
    entered = threading.Event()

    def enter():
        with alone:
            entered.set()

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join(60)
    assert entered.is_set()
