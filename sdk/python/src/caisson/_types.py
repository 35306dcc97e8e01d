"""The nouns of the HTTP API, version 1, as they are on the wire. Generated from api/openapi.json by `./dev generate`."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict, Union

ErrorCode = Literal[
    "USAGE",
    "REQUEST_INVALID",
    "POLICY_INVALID",
    "EVIDENCE_ARCHIVE_INVALID",
    "LIMIT_EXCEEDS_POLICY",
    "LIMIT_BELOW_LEVEL",
    "LIMIT_NOT_ENFORCEABLE",
    "LEVEL_BELOW_POLICY",
    "LEVEL_UNAVAILABLE",
    "HOST_LACKS_CGROUP",
    "HOST_LACKS_USER_NAMESPACES",
    "HOST_LACKS_SECCOMP",
    "HOST_LACKS_LANDLOCK",
    "FLOOR_VIOLATED",
    "NETWORK_UNAVAILABLE",
    "EGRESS_EXCEEDS_POLICY",
    "NETWORK_ABSENT",
    "EGRESS_UNCERTIFIED",
    "APPROVAL_NOT_FOUND",
    "SECRET_UNKNOWN",
    "SECRET_UNAVAILABLE",
    "LEASE_NOT_FOUND",
    "LAUNCH_FAILED",
    "ATTESTATION_FAILED",
    "EVIDENCE_UNAVAILABLE",
    "EVIDENCE_ENTRY_INVALID",
    "EVIDENCE_DAMAGED",
    "EVIDENCE_KEY_ERASED",
    "EVIDENCE_KEY_MISSING",
    "DAEMON_UNREACHABLE",
    "DAEMON_START_FAILED",
    "DAEMON_RUNNING",
    "STATE_DIR_INVALID",
    "FRAME_INVALID",
    "SANDBOX_LOST",
    "COMMAND_NOT_FOUND",
    "COMMAND_NOT_EXECUTABLE",
    "CWD_INVALID",
    "SANDBOX_NAME_TAKEN",
    "SANDBOXES_EXCEED_POLICY",
    "LIMIT_EXCEEDS_SANDBOX",
    "WORKSPACE_SIZE",
    "AUDIT_MIRROR_REFUSED",
    "AUDIT_MIRROR_TAKEN",
    "WORKSPACE_EXISTS",
    "SNAPSHOT_DIFFERS",
    "IDEMPOTENCY_MISMATCH",
    "CANCELLED",
    "SANDBOX_NOT_FOUND",
    "EXEC_NOT_FOUND",
    "SANDBOX_STATE",
    "OUTPUT_NOT_KEPT",
    "OUTPUT_GONE",
    "PORT_REFUSED",
    "CHECKPOINT_UNAVAILABLE",
    "CHECKPOINT_FAILED",
    "CHECKPOINT_INVALID",
    "SNAPSHOT_NOT_FOUND",
    "WORKSPACE_NOT_FOUND",
    "WORKSPACES_UNAVAILABLE",
    "WORKSPACE_INVALID",
    "WORKSPACE_CONFLICT",
    "WORKSPACE_ATTACHED",
    "WORKSPACE_DAMAGED",
    "WORKSPACE_POOL_FULL",
    "WORKSPACE_FAILED",
    "WORKSPACE_IMPORT_FAILED",
    "FILE_NOT_FOUND",
    "FILE_EXISTS",
    "FILE_NOT_REGULAR",
    "FILE_OUTSIDE",
    "FILE_DENIED",
    "FILE_NO_SPACE",
    "FILE_CHANGED",
    "FILE_TOO_LARGE",
    "ARCHIVE_INVALID",
    "PATCH_REJECTED",
    "FILES_UNAVAILABLE",
    "ROUTE_NOT_FOUND",
    "METHOD_NOT_ALLOWED",
    "UPGRADE_REQUIRED",
    "REQUEST_TIMEOUT",
    "REQUEST_TOO_LARGE",
    "MEDIA_TYPE_UNSUPPORTED",
    "RANGE_INVALID",
    "HOST_REFUSED",
    "RATE_LIMITED",
    "TOKEN_INVALID",
    "TOKEN_NOT_FOUND",
    "SCOPE_MISSING",
    "DRAINING",
    "NOT_OFFERED",
    "TLS_REQUIRED",
    "TOKENS_DAMAGED",
    "IMAGE_NOT_FOUND",
    "IMAGE_INVALID",
    "IMAGE_TOO_LARGE",
    "IMAGE_UNAVAILABLE",
    "IMAGE_TAG_REFUSED",
    "IMAGE_TOOL_MISSING",
    "IMAGE_IN_USE",
    "WITNESS_INVALID",
    "TIMESTAMPS_INVALID",
    "INTERNAL",
]


class Allowed(TypedDict):
    effect: Literal["allow"]
    rule: str
    reason: str
    level: "Level"
    limits: "Limits"
    notEnforced: list[Literal["wallMs", "cpuMs", "memoryBytes", "pids", "cpuMillis", "outputBytes", "workspaceBytes", "tmpBytes", "inodes", "openFiles"]]


CreateRequest = TypedDict(
    "CreateRequest",
    {
        "level": "NotRequired['Level']",
        "image": "NotRequired[str]",
        "limits": "NotRequired['SomeLimits']",
        "env": "NotRequired[dict[str, str]]",
        "name": "NotRequired[str]",
        "labels": "NotRequired[dict[str, str]]",
        "workspace": "NotRequired[str]",
        "from": "NotRequired[str]",
        "memory": "NotRequired[bool]",
        "ttlMs": "NotRequired[int]",
        "idleMs": "NotRequired[int]",
        "keepAlive": "NotRequired[bool]",
        "terminals": "NotRequired[bool]",
        "network": "NotRequired['NetworkRequest']",
        "secrets": "NotRequired[list[str]]",
        "auditMirror": "NotRequired[bool]",
    },
)


class Denied(TypedDict):
    effect: Literal["deny"]
    rule: str
    reason: str
    wouldAllow: str
    code: "ErrorCode"
    context: dict[str, Union[str, float]]


class EgressRuleHttpMcp(TypedDict):
    methods: NotRequired[list[str]]
    tools: NotRequired[list[str]]


class EgressRuleHttp(TypedDict):
    methods: NotRequired[list[str]]
    paths: NotRequired[list[str]]
    bodyBytes: NotRequired[int]
    headers: NotRequired[dict[str, str]]
    mcp: NotRequired["EgressRuleHttpMcp"]


class EgressRule(TypedDict):
    name: NotRequired[str]
    effect: NotRequired[Literal["allow", "deny"]]
    host: str
    port: NotRequired[int]
    protocol: NotRequired[Literal["tls", "http", "https", "tcp"]]
    http: NotRequired["EgressRuleHttp"]
    perMinute: NotRequired[int]
    bytes: NotRequired[int]
    auditOnly: NotRequired[bool]
    hold: NotRequired[bool]


class EndingExited(TypedDict):
    kind: Literal["exited"]
    code: int


class EndingSignaled(TypedDict):
    kind: Literal["signaled"]
    signal: int


class EndingTimedOut(TypedDict):
    kind: Literal["timed-out"]
    limit: Literal["wall", "cpu"]
    limitMs: float


class EndingOutOfMemory(TypedDict):
    kind: Literal["out-of-memory"]
    limitBytes: float


class EndingNotStarted(TypedDict):
    kind: Literal["not-started"]
    code: Literal["COMMAND_NOT_FOUND", "COMMAND_NOT_EXECUTABLE", "CWD_INVALID"]
    detail: str


class EndingRefused(TypedDict):
    kind: Literal["refused"]
    code: str
    detail: str


class EndingFailed(TypedDict):
    kind: Literal["failed"]
    code: str
    detail: str


class EndingCancelled(TypedDict):
    kind: Literal["cancelled"]
    detail: str


class EndingUnknown(TypedDict):
    kind: Literal["unknown"]
    detail: str


Ending = Union["EndingExited", "EndingSignaled", "EndingTimedOut", "EndingOutOfMemory", "EndingNotStarted", "EndingRefused", "EndingFailed", "EndingCancelled", "EndingUnknown"]


class ExecInfoOutput(TypedDict):
    stdout: "OutputCount"
    stderr: "OutputCount"


class ExecInfoEvidenceIntent(TypedDict):
    index: int
    hash: str


class ExecInfoEvidenceOutcome(TypedDict):
    index: int
    hash: str


class ExecInfoEvidence(TypedDict):
    intent: Union["ExecInfoEvidenceIntent", None]
    outcome: Union["ExecInfoEvidenceOutcome", None]


class ExecInfo(TypedDict):
    id: str
    sandbox: str
    program: str
    state: Literal["running", "ended"]
    tty: bool
    startedMs: float
    """milliseconds since 1970 UTC"""
    endedMs: Union[float, None]
    ending: Union["Ending", None]
    exit: Union[Union[int, Literal["unknown"]], None]
    reason: Union[str, None]
    output: Union["ExecInfoOutput", None]
    evidence: "ExecInfoEvidence"


class ExecRequest(TypedDict):
    argv: list[str]
    cwd: NotRequired[str]
    env: NotRequired[dict[str, str]]
    stdin: NotRequired[bool]
    tty: NotRequired["TerminalSize"]
    timeoutMs: NotRequired[int]
    outputBytes: NotRequired[int]
    user: NotRequired[Literal["agent"]]


class FileInfo(TypedDict):
    path: str
    pathBase64: NotRequired[str]
    type: Literal["file", "directory", "symlink", "fifo", "socket", "device"]
    sizeBytes: int
    mode: int
    mtimeMs: float
    version: str
    """differs after every change of the file; in quotes it is the ETag of its content, for If-Match"""
    target: NotRequired[str]


class ForkRequest(TypedDict):
    level: NotRequired["Level"]
    image: NotRequired[str]
    limits: NotRequired["SomeLimits"]
    env: NotRequired[dict[str, str]]
    name: NotRequired[str]
    labels: NotRequired[dict[str, str]]
    workspace: NotRequired[str]
    memory: NotRequired[bool]
    ttlMs: NotRequired[int]
    idleMs: NotRequired[int]
    keepAlive: NotRequired[bool]
    terminals: NotRequired[bool]
    network: NotRequired["NetworkRequest"]
    secrets: NotRequired[list[str]]
    auditMirror: NotRequired[bool]


class HeldAttempt(TypedDict):
    id: str
    sandbox: str
    what: Literal["connection", "request"]
    host: str
    port: int
    method: Union[str, None]
    path: Union[str, None]
    rules: list[str]
    sinceMs: float
    expiresMs: float
    waiting: int


class ImageImport(TypedDict):
    name: NotRequired[str]
    source: NotRequired[str]
    build: NotRequired[dict[str, Any]]


class ImageInfo(TypedDict):
    digest: str
    name: Union[str, None]
    names: list[str]
    createdMs: float
    importedMs: float
    sizeBytes: float
    env: list[str]
    source: str
    labels: dict[str, str]


Level = Literal["container", "gvisor", "microvm"]


class Limits(TypedDict):
    wallMs: int
    """wall time in milliseconds"""
    cpuMs: int
    """CPU time in milliseconds"""
    memoryBytes: int
    """memory in bytes"""
    pids: int
    """processes and threads"""
    cpuMillis: int
    """thousandths of a core"""
    outputBytes: int
    """bytes of stdout and of stderr"""
    workspaceBytes: int
    """bytes in /workspace"""
    tmpBytes: int
    """bytes in /tmp"""
    inodes: int
    """files in /workspace and in /tmp"""
    openFiles: int
    """open descriptors per process"""


class LiveUsage(TypedDict):
    cpuMs: Union[float, None]
    memoryBytes: Union[float, None]
    memoryPeakBytes: Union[float, None]
    pids: Union[float, None]
    pidsPeak: Union[float, None]
    oomKills: Union[float, None]


class NetworkInfoSecretsItem(TypedDict):
    secret: str
    uses: int
    lastMs: float
    """milliseconds since 1970 UTC"""


class NetworkInfoConnectionsItem(TypedDict):
    host: str
    port: int
    startedMs: float
    """milliseconds since 1970 UTC"""
    bytesOut: int
    bytesIn: int


class NetworkInfoPassed(TypedDict):
    connections: int
    bytesOut: int
    bytesIn: int


class NetworkInfoRefusedItem(TypedDict):
    what: Literal["name", "packet", "connection", "request", "answer"]
    to: str
    rule: Union[str, None]
    reason: str
    wouldAllow: NotRequired[str]
    count: int
    lastMs: float
    """milliseconds since 1970 UTC"""


class NetworkInfo(TypedDict):
    rules: list["EgressRule"]
    learn: NotRequired[Literal[true]]
    secrets: list["NetworkInfoSecretsItem"]
    connections: list["NetworkInfoConnectionsItem"]
    passed: "NetworkInfoPassed"
    refused: list["NetworkInfoRefusedItem"]
    refusedTotal: int


class NetworkRequest(TypedDict):
    rules: list["EgressRule"]
    learn: NotRequired[Literal[true]]


class NewSnapshot(TypedDict):
    label: NotRequired[str]
    memory: NotRequired[bool]


class NewToken(TypedDict):
    name: str
    scopes: list["Scope"]
    expiresMs: NotRequired[int]


class OutputCount(TypedDict):
    written: int
    returned: int
    truncated: bool
    sha256: str


class OutputEvent(TypedDict):
    stream: Literal["stdout", "stderr"]
    offset: int
    data: str


class Problem(TypedDict):
    type: str
    title: str
    status: int
    code: "ErrorCode"
    detail: str
    hint: str


class Renewal(TypedDict):
    ttlMs: NotRequired[int]
    idleMs: NotRequired[int]
    keepAlive: NotRequired[bool]


class SandboxInfoLevel(TypedDict):
    requested: "Level"
    delivered: Union["Level", None]
    runtime: Union[str, None]
    kernel: Union[str, None]


class SandboxInfoWorkspace(TypedDict):
    id: str
    name: Union[str, None]


class SandboxInfoEvidenceIntent(TypedDict):
    index: int
    hash: str


class SandboxInfoEvidenceOutcome(TypedDict):
    index: int
    hash: str


class SandboxInfoEvidence(TypedDict):
    intent: Union["SandboxInfoEvidenceIntent", None]
    outcome: Union["SandboxInfoEvidenceOutcome", None]


class SandboxInfo(TypedDict):
    id: str
    name: Union[str, None]
    labels: dict[str, str]
    state: "SandboxState"
    reason: str
    level: "SandboxInfoLevel"
    image: str
    limits: "Limits"
    notEnforced: list[Literal["wallMs", "cpuMs", "memoryBytes", "pids", "cpuMillis", "outputBytes", "workspaceBytes", "tmpBytes", "inodes", "openFiles"]]
    terminals: bool
    auditMirror: bool
    network: Union["NetworkRequest", None]
    secrets: list[str]
    workspace: "SandboxInfoWorkspace"
    createdMs: float
    """milliseconds since 1970 UTC"""
    endedMs: Union[float, None]
    expiresMs: float
    """milliseconds since 1970 UTC"""
    idleMs: Union[float, None]
    running: list[str]
    warm: bool
    decision: Union["Allowed", "Denied"]
    evidence: "SandboxInfoEvidence"
    timings: dict[str, float]


SandboxState = Literal["creating", "running", "paused", "restoring", "closing", "closed", "lost"]


Scope = Literal["sandboxes:read", "sandboxes:write", "exec", "files:read", "files:write", "workspaces", "images", "approvals", "admin"]


class SecretInfo(TypedDict):
    secret: str
    file: Union[str, None]
    uses: int
    lastMs: Union[float, None]
    expiresMs: Union[float, None]


class SnapshotInfo(TypedDict):
    id: str
    label: Union[str, None]
    createdMs: float
    sizeBytes: float
    memory: bool


class SomeLimits(TypedDict):
    wallMs: NotRequired[int]
    """wall time in milliseconds"""
    cpuMs: NotRequired[int]
    """CPU time in milliseconds"""
    memoryBytes: NotRequired[int]
    """memory in bytes"""
    pids: NotRequired[int]
    """processes and threads"""
    cpuMillis: NotRequired[int]
    """thousandths of a core"""
    outputBytes: NotRequired[int]
    """bytes of stdout and of stderr"""
    workspaceBytes: NotRequired[int]
    """bytes in /workspace"""
    tmpBytes: NotRequired[int]
    """bytes in /tmp"""
    inodes: NotRequired[int]
    """files in /workspace and in /tmp"""
    openFiles: NotRequired[int]
    """open descriptors per process"""


class TerminalSize(TypedDict):
    cols: int
    rows: int


class TokenInfo(TypedDict):
    id: str
    name: str
    scopes: list["Scope"]
    createdMs: int
    expiresMs: int
    lastUsedMs: Union[int, None]


class WorkspaceInfo(TypedDict):
    id: str
    name: Union[str, None]
    sizeBytes: float
    inodes: float
    createdMs: float
    parent: Union[str, None]
    attachedTo: Union[str, None]
    usedBytes: Union[float, None]
    damaged: Union[str, None]
