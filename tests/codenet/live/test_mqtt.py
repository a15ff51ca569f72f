# SPDX-License-Identifier: Apache-2.0
"""Messages to a broker, by a stand-in for paho-mqtt as versions 1 and 2 have it."""

import json
import sys
import types

import pytest

from codenet.errors import ConfigError
from codenet.live.mqtt import PATIENCE, Broker, Mqtt
from tests.codenet.live.stage import seen


class Message:
    def __init__(self, rc):
        self.rc, self.sent = rc, False

    def is_published(self):
        return self.sent


@pytest.fixture(params=[1, 2])
def paho(request, monkeypatch):
    """The module ``client``; ``rc`` is what publishing says, ``refuses`` what connecting raises."""
    module = types.SimpleNamespace(log=[], messages=[], rc=0, refuses=None)

    class Client:
        def __init__(self, *arguments):
            assert arguments == (("two",) if request.param == 2 else ())

        def connect(self, host, port):
            module.log.append(("connect", host, port))
            if module.refuses:
                raise module.refuses

        def username_pw_set(self, *words):
            module.log.append(words)

        def publish(self, topic, text):
            module.messages.append((topic, json.loads(text), Message(module.rc)))
            return module.messages[-1][2]

        def loop_start(self):
            module.log.append("start")

        def loop_stop(self):
            module.log.append("stop")

        def disconnect(self):
            module.log.append("disconnect")

    module.Client = Client
    if request.param == 2:
        module.CallbackAPIVersion = types.SimpleNamespace(VERSION2="two")
    for name in ("paho", "paho.mqtt"):
        monkeypatch.setitem(sys.modules, name, types.SimpleNamespace(mqtt=None, client=module))
    monkeypatch.setitem(sys.modules, "paho.mqtt.client", module)
    monkeypatch.delenv("MQTT_USERNAME", raising=False)
    return module


BROKER = Broker("broker", 1883, "home/door")


def test_messages(paho):
    output = Mqtt(BROKER)
    for number in (1, 2):
        output.seen(seen(number))
        paho.messages[-1][2].sent = True
    output.lost("camera 0: has stopped")
    paho.messages[-1][2].sent = True
    output.back("camera 0")
    output.close()
    assert [topic for topic, *_ in paho.messages] == ["home/door"] * 4
    assert paho.messages[1][1] == {"event": "frame", **seen(2).to_dict()}
    assert [value["event"] for _, value, _ in paho.messages] == ["frame", "frame", "lost", "back"]
    assert paho.log == [("connect", "broker", 1883), "start", "disconnect", "stop"]


def test_messages_do_not_queue_up(paho, monkeypatch):
    """A broker that takes nothing gets one message, and one more when that one must be lost."""
    now = [100.0]
    monkeypatch.setattr("codenet.live.mqtt.time", types.SimpleNamespace(monotonic=lambda: now[0]))
    output = Mqtt(BROKER)
    for number in range(1, 50):
        output.seen(seen(number))
    assert [value["frame"] for _, value, _ in paho.messages] == [1]
    now[0] += PATIENCE
    output.seen(seen(50))
    paho.messages[-1][2].sent = True
    output.seen(seen(51))
    assert [value["frame"] for _, value, _ in paho.messages] == [1, 50, 51]


def test_broker_that_is_gone(paho):
    """What the client does not take is lost; the next frame is tried again."""
    output = Mqtt(BROKER)
    paho.rc = 4
    for number in (1, 2, 3):
        output.seen(seen(number))
    assert len(paho.messages) == 3


def test_broker_that_does_not_answer(paho):
    paho.refuses = ConnectionRefusedError(111, "Connection refused")
    with pytest.raises(OSError, match="Connection refused") as error:
        Mqtt(BROKER)
    assert error.value.filename == "--mqtt broker:1883" and "start" not in paho.log


def test_name_and_password(paho, monkeypatch):
    monkeypatch.setenv("MQTT_USERNAME", "me")
    monkeypatch.setenv("MQTT_PASSWORD", "secret")
    Mqtt(BROKER)
    assert paho.log[0] == ("me", "secret")


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "paho.mqtt", None)
    with pytest.raises(ConfigError, match="--mqtt broker:1883: needs the package paho-mqtt.*pip install paho-mqtt"):
        Mqtt(BROKER)


@pytest.mark.parametrize(
    ("text", "broker"),
    [
        ("broker/home/door", BROKER),
        ("10.0.0.5:8883/x", Broker("10.0.0.5", 8883, "x")),
        ("[::1]:1/x y", Broker("::1", 1, "x y")),
    ],
)
def test_brokers(text, broker):
    assert Broker.parse(text) == broker


@pytest.mark.parametrize("text", ["", "broker", "broker/", "/topic", "broker:x/t", "broker:0/t", "b:70000/t", "b/a/#"])
def test_brokers_that_are_none(text):
    with pytest.raises(ConfigError, match=r"--mqtt .*: expected HOST\[:PORT\]/TOPIC"):
        Broker.parse(text)
