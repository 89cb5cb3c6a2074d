from tests.engine.conftest import flags

__all__ = ["flags"]
