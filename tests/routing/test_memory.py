"""What is remembered, and what makes room for it."""

import threading

from ccproxyd.routing.memory import Memory


def test_what_has_been_put_in_is_found() -> None:
    memory: Memory[str] = Memory(capacity=10)
    memory.put(1, "one")
    assert (memory.get(1), memory.get(2), len(memory)) == ("one", None, 1)


def test_a_memory_never_holds_more_than_its_capacity() -> None:
    memory: Memory[int] = Memory(capacity=10)
    for number in range(100):
        memory.put(number, number)
        assert len(memory) <= 10
    assert memory.get(99) == 99
    assert memory.get(0) is None


def test_what_is_put_in_again_outlives_what_is_not() -> None:
    memory: Memory[int] = Memory(capacity=8)
    for number in range(50):
        memory.put(number, number)
        memory.put(-1, 1)
    assert memory.get(-1) == 1


def test_a_generation_that_is_full_is_still_found() -> None:
    memory: Memory[int] = Memory(capacity=4)
    for number in range(4):
        memory.put(number, number)
    assert list(memory.younger) == [2, 3]
    assert [memory.get(number) for number in range(4)] == [0, 1, 2, 3]


def test_the_smallest_memory_remembers_something() -> None:
    memory: Memory[int] = Memory(capacity=0)
    memory.put(1, 1)
    assert memory.get(1) == 1


def test_threads_never_make_it_too_large() -> None:
    memory: Memory[int] = Memory(capacity=64)

    def work(first: int) -> None:
        for number in range(first, first + 2000):
            memory.put(number, number)

    threads = [threading.Thread(target=work, args=(10_000 * index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(memory) <= 64
