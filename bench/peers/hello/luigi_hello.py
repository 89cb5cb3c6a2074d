import json

import luigi
from luigi.mock import MockTarget


class Kept(luigi.Task):
    def output(self):
        return MockTarget(type(self).__name__)

    def read(self):
        with self.input().open("r") as file:
            return json.load(file)

    def write(self, value):
        with self.output().open("w") as file:
            json.dump(value, file)


class Load(Kept):
    def run(self):
        self.write([1, 2, 3])


class Double(Kept):
    def requires(self):
        return Load()

    def run(self):
        self.write([value * 2 for value in self.read()])


class Total(Kept):
    def requires(self):
        return Double()

    def run(self):
        self.write(sum(self.read()))


luigi.build([Total()], local_scheduler=True, log_level="ERROR")
with Total().output().open("r") as file:
    print(file.read())
