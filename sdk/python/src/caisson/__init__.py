"""Computers for AI agents, on a Caisson of your own: sandboxes, commands, files, snapshots, Python sessions.

`Sandbox` blocks, `AsyncSandbox` is for asyncio; both have the same methods.
"""

from ._aio.approvals import AsyncApprovals
from ._aio.files import AsyncFiles
from ._aio.network import AsyncNetwork
from ._aio.ports import AsyncPorts
from ._aio.process import AsyncProcess
from ._aio.python import AsyncPython
from ._aio.sandbox import AsyncSandbox
from ._aio.secrets import AsyncSecrets
from ._aio.snapshots import AsyncSnapshots
from ._aio.workspaces import AsyncWorkspaces
from ._sync.approvals import Approvals
from ._sync.files import Files
from ._sync.network import Network
from ._sync.ports import Ports
from ._sync.process import Process
from ._sync.python import Python
from ._sync.sandbox import Sandbox
from ._sync.secrets import Secrets
from ._sync.snapshots import Snapshots
from ._sync.workspaces import Workspaces
from ._types import (
    EgressRule,
    Ending,
    ErrorCode,
    ExecInfo,
    FileInfo,
    HeldAttempt,
    Level,
    Limits,
    LiveUsage,
    NetworkInfo,
    NetworkRequest,
    SandboxInfo,
    SandboxState,
    SecretInfo,
    SnapshotInfo,
    SomeLimits,
    WorkspaceInfo,
)
from ._values import Decided, ExecEnd, ExecResult, Output, PythonFault, PythonResult
from ._where import Where, connection
from .errors import CaissonError, ExecError, PythonEnded

__all__ = [
    "Approvals", "AsyncApprovals", "AsyncFiles", "AsyncNetwork", "AsyncPorts", "AsyncProcess", "AsyncPython", "AsyncSandbox",
    "AsyncSecrets", "AsyncSnapshots", "AsyncWorkspaces", "CaissonError", "Decided", "EgressRule", "Ending", "ErrorCode", "ExecEnd", "ExecError", "ExecInfo", "ExecResult",
    "FileInfo", "Files", "HeldAttempt", "Level", "Limits", "LiveUsage", "Network", "NetworkInfo", "NetworkRequest", "Output", "Ports", "Process", "Python",
    "PythonEnded", "PythonFault", "PythonResult", "Sandbox", "SandboxInfo", "SandboxState", "SecretInfo", "Secrets",
    "SnapshotInfo", "Snapshots", "SomeLimits", "Where", "WorkspaceInfo", "Workspaces", "connection",
]
