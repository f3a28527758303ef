"""A connection that loses an answer."""

from typing import Any

import requests

from connected_accounts.oauth2 import transport


class LostAnswer(transport.PooledAdapter):
    """Sends a request, and loses the answer to the first."""

    lost = 0

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> Any:
        answer = super().send(request, *args, **options)
        if request.method == "POST" and not self.lost:
            self.lost += 1
            answer.close()
            raise requests.ConnectionError("the answer is lost")
        return answer
