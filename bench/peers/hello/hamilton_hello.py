import sys

from hamilton import driver


def load() -> list[int]:
    return [1, 2, 3]


def double(load: list[int]) -> list[int]:
    return [value * 2 for value in load]


def total(double: list[int]) -> int:
    return sum(double)


print(driver.Builder().with_modules(sys.modules["__main__"]).build().execute(["total"])["total"])
