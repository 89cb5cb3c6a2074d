from distributed import Client


def load():
    return [1, 2, 3]


def double(values):
    return [value * 2 for value in values]


if __name__ == "__main__":
    with Client(processes=False, dashboard_address=None) as client:
        print(client.submit(sum, client.submit(double, client.submit(load))).result())
