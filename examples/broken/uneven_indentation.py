"""Two branches were merged by hand, one indented by four and one by three."""


def discount(total: float, loyal: bool) -> float:
    if loyal:
        rate = 0.10
        if total > 500:
            rate = 0.15
       return total * (1 - rate)
    return total
