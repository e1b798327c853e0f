# ruff: noqa
# fmt: off
# mypy: ignore-errors
import datetime

from google.protobuf import empty_pb2 as _empty_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class HealthStatus(_message.Message):
    __slots__ = ("status", "reason", "exit_code", "app_port", "kind", "restarts", "revision", "service", "stack", "since")
    class Status(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNKNOWN: _ClassVar[HealthStatus.Status]
        SERVING: _ClassVar[HealthStatus.Status]
        NOT_SERVING: _ClassVar[HealthStatus.Status]
        STARTING: _ClassVar[HealthStatus.Status]
        COMPLETED: _ClassVar[HealthStatus.Status]
        FAILED: _ClassVar[HealthStatus.Status]
    UNKNOWN: HealthStatus.Status
    SERVING: HealthStatus.Status
    NOT_SERVING: HealthStatus.Status
    STARTING: HealthStatus.Status
    COMPLETED: HealthStatus.Status
    FAILED: HealthStatus.Status
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNDECIDED: _ClassVar[HealthStatus.Kind]
        SERVER: _ClassVar[HealthStatus.Kind]
        JOB: _ClassVar[HealthStatus.Kind]
        WORKER: _ClassVar[HealthStatus.Kind]
    UNDECIDED: HealthStatus.Kind
    SERVER: HealthStatus.Kind
    JOB: HealthStatus.Kind
    WORKER: HealthStatus.Kind
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    APP_PORT_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    RESTARTS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    STACK_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    status: HealthStatus.Status
    reason: str
    exit_code: int
    app_port: int
    kind: HealthStatus.Kind
    restarts: int
    revision: str
    service: str
    stack: str
    since: _timestamp_pb2.Timestamp
    def __init__(self, status: _Optional[_Union[HealthStatus.Status, str]] = ..., reason: _Optional[str] = ..., exit_code: _Optional[int] = ..., app_port: _Optional[int] = ..., kind: _Optional[_Union[HealthStatus.Kind, str]] = ..., restarts: _Optional[int] = ..., revision: _Optional[str] = ..., service: _Optional[str] = ..., stack: _Optional[str] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class LogRequest(_message.Message):
    __slots__ = ("service", "follow", "tail", "since", "after_seq")
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_FIELD_NUMBER: _ClassVar[int]
    TAIL_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    AFTER_SEQ_FIELD_NUMBER: _ClassVar[int]
    service: str
    follow: bool
    tail: int
    since: _timestamp_pb2.Timestamp
    after_seq: int
    def __init__(self, service: _Optional[str] = ..., follow: _Optional[bool] = ..., tail: _Optional[int] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., after_seq: _Optional[int] = ...) -> None: ...

class LogLine(_message.Message):
    __slots__ = ("ts", "msg", "seq", "dropped", "stream", "service")
    class Stream(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STREAM_UNSPECIFIED: _ClassVar[LogLine.Stream]
        STDOUT: _ClassVar[LogLine.Stream]
        STDERR: _ClassVar[LogLine.Stream]
        RUNNER: _ClassVar[LogLine.Stream]
    STREAM_UNSPECIFIED: LogLine.Stream
    STDOUT: LogLine.Stream
    STDERR: LogLine.Stream
    RUNNER: LogLine.Stream
    TS_FIELD_NUMBER: _ClassVar[int]
    MSG_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    ts: _timestamp_pb2.Timestamp
    msg: str
    seq: int
    dropped: int
    stream: LogLine.Stream
    service: str
    def __init__(self, ts: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., msg: _Optional[str] = ..., seq: _Optional[int] = ..., dropped: _Optional[int] = ..., stream: _Optional[_Union[LogLine.Stream, str]] = ..., service: _Optional[str] = ...) -> None: ...

class LogBatch(_message.Message):
    __slots__ = ("lines", "dropped")
    LINES_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    lines: _containers.RepeatedCompositeFieldContainer[LogLine]
    dropped: int
    def __init__(self, lines: _Optional[_Iterable[_Union[LogLine, _Mapping]]] = ..., dropped: _Optional[int] = ...) -> None: ...

class DeployRequest(_message.Message):
    __slots__ = ("slugs",)
    SLUGS_FIELD_NUMBER: _ClassVar[int]
    slugs: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, slugs: _Optional[_Iterable[str]] = ...) -> None: ...

class DeployResult(_message.Message):
    __slots__ = ("results", "exit_code", "run")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[ServiceResult]
    exit_code: int
    run: str
    def __init__(self, results: _Optional[_Iterable[_Union[ServiceResult, _Mapping]]] = ..., exit_code: _Optional[int] = ..., run: _Optional[str] = ...) -> None: ...

class ServiceResult(_message.Message):
    __slots__ = ("service", "status", "reason", "revision", "exit_code")
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    service: str
    status: HealthStatus.Status
    reason: str
    revision: str
    exit_code: int
    def __init__(self, service: _Optional[str] = ..., status: _Optional[_Union[HealthStatus.Status, str]] = ..., reason: _Optional[str] = ..., revision: _Optional[str] = ..., exit_code: _Optional[int] = ...) -> None: ...
