# SPDX-License-Identifier: Apache-2.0
"""Detections to an MQTT broker, through the package paho-mqtt, 1.6 or 2."""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import dataclass
from typing import Any

from codenet.errors import ConfigError
from codenet.live.outputs import Output, Seen

PORT = 1883

PATIENCE = 5.0
"""Seconds after which a message that has not left counts for nothing."""


@dataclass(frozen=True)
class Broker:
    """Where messages go."""

    host: str
    port: int
    topic: str

    @classmethod
    def parse(cls, text: str) -> Broker:
        """Of ``HOST[:PORT]/TOPIC``.

        Raises
        ------
        ConfigError
            It is not of this form.
        """
        match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^:/\s\[\]]+)(?::([0-9]{1,5}))?/([^#+\0]{1,1000})", text)
        port = int(match[2] or PORT) if match else 0
        if match is None or not 0 < port < 65536:
            raise ConfigError(f"--mqtt {text}: expected HOST[:PORT]/TOPIC, a topic without # and +")
        return cls(match[1].strip("[]"), port, match[3])

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Mqtt(Output):
    """Publishes each frame as JSON (:meth:`codenet.live.outputs.Seen.to_dict`).

    A message waits for nobody: while one is on its way, or the broker is gone, others are dropped; the client connects
    again by itself. Name and password of the broker, if it asks for them, are in the environment: ``MQTT_USERNAME`` and
    ``MQTT_PASSWORD``.

    Raises
    ------
    ConfigError
        The package is not there.
    OSError
        The broker does not answer.
    """

    def __init__(self, broker: Broker) -> None:
        self._topic = broker.topic
        self._pending: Any = None
        self._since = 0.0
        self._client = _client(broker)
        try:
            self._client.connect(broker.host, broker.port)
        except OSError as error:
            raise OSError(error.errno or 0, error.strerror or str(error), f"--mqtt {broker}") from error
        self._client.loop_start()

    def seen(self, seen: Seen) -> None:
        self._publish({"event": "frame", **seen.to_dict()})

    def lost(self, reason: str) -> None:
        self._publish({"event": "lost", "reason": reason})

    def back(self, name: str) -> None:
        self._publish({"event": "back"})

    def _publish(self, value: dict[str, Any]) -> None:
        now = time.monotonic()
        if self._pending is not None and now < self._since + PATIENCE and not self._pending.is_published():
            return
        message = self._client.publish(self._topic, json.dumps(value))
        # A message that the client has not taken stays unpublished forever.
        self._pending, self._since = (message, now) if message.rc == 0 else (None, now)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def _client(broker: Broker) -> Any:
    try:
        from paho.mqtt import client
    except ImportError as error:
        raise ConfigError(
            f"--mqtt {broker}: needs the package paho-mqtt, which cannot be imported here ({error}); "
            f"pip install paho-mqtt"
        ) from error
    versions = getattr(client, "CallbackAPIVersion", None)  # Since 2.0; callbacks are not used here.
    made = client.Client() if versions is None else client.Client(versions.VERSION2)
    if "MQTT_USERNAME" in os.environ:
        made.username_pw_set(os.environ["MQTT_USERNAME"], os.environ.get("MQTT_PASSWORD"))
    return made
