from tests.requests.conftest import ask, people

__all__ = ["ask", "people"]
