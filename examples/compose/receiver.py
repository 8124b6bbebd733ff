"""Stands in for a pager: prints each alert that Alertmanager delivers, one JSON object a line. It is for the demo alone."""

import http.server
import json


class Receiver(http.server.BaseHTTPRequestHandler):
    """Takes Alertmanager's webhook (https://prometheus.io/docs/alerting/latest/configuration/#webhook_config)."""

    def do_POST(self) -> None:
        """Print the alerts of one delivery."""
        delivery = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        for alert in delivery["alerts"]:
            print(json.dumps({key: alert[key] for key in ("status", "labels", "annotations")}), flush=True)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_words: object) -> None:
        """Log no requests: the output is the alerts."""


http.server.HTTPServer(("0.0.0.0", 8080), Receiver).serve_forever()
