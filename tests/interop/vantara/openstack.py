"""What Cinder's driver wants of OpenStack around it: logs, timers, exceptions. The driver itself is the real one."""

import datetime
import importlib.util
import os
import sys
import time
import types
from unittest import mock


class VolumeDriverException(Exception):
    def __init__(self, message=None, **kwargs):
        super().__init__(message)
        self.kwargs = kwargs


class StopWatch:
    def restart(self):
        self.began = time.monotonic()

    def stop(self):
        pass

    def elapsed(self):
        return time.monotonic() - self.began


def older_than(began, seconds):
    return datetime.datetime.now() - began > datetime.timedelta(seconds=seconds)


def module(name, **content):
    sys.modules[name] = made = types.ModuleType(name)
    made.__dict__.update(content)
    parent, _, last = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], last, made)
    return made


def same(*_args, **_kwargs):
    return lambda fn: fn


def rest_api():
    """The driver's module hbsd_rest_api, without the rest of Cinder."""
    root = os.path.dirname(importlib.util.find_spec("cinder").origin)
    for name in ("oslo_log", "oslo_service", "oslo_utils"):
        module(name)
    module("oslo_log.log", getLogger=lambda _name: mock.MagicMock())
    module("oslo_service.loopingcall", FixedIntervalLoopingCall=mock.MagicMock())
    module("oslo_utils.timeutils", utcnow=datetime.datetime.now, is_older_than=older_than, StopWatch=StopWatch)
    module("oslo_utils.units", Gi=1 << 30, Mi=1 << 20, Ki=1 << 10)
    module("cinder").__path__ = [root]
    for name in ("volume", "volume.drivers"):
        module("cinder." + name).__path__ = [os.path.join(root, *name.split("."))]
    module("cinder.exception", VolumeDriverException=VolumeDriverException, CinderException=VolumeDriverException)
    module("cinder.i18n", _=lambda text: text)
    module("cinder.coordination", synchronized=same)
    module("cinder.utils", synchronized=same)
    module("cinder.volume.volume_types")
    module("cinder.volume.volume_utils", trace=lambda fn: fn)
    from cinder.volume.drivers.hitachi import hbsd_rest_api
    return hbsd_rest_api
