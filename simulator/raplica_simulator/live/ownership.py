# SPDX-License-Identifier: Apache-2.0
"""Whose the files of a machine are that a user without rights has made for a program of theirs.

The kernel gives them to root, and a user namespace is not always in between: a mount that a test or a case makes for
its own reader would refuse that reader every energy.  There the user is taken for the machine's administrator.
"""

import os

from raplica_simulator.linux.sysfs_nodes import Directory, Node
from raplica_simulator.machine import Machine

__all__ = ["give_to_caller"]


def give_to_caller(machine: Machine) -> None:
    """Give whoever runs this process what is root's in the machine's sysfs; nothing changes for root.

    What comes to the tree later is root's again.
    """
    if os.geteuid():
        _give(machine.sysfs.root, os.getuid(), os.getgid())


def _give(node: Node, uid: int, gid: int) -> None:
    if node.uid == 0:
        node.uid, node.gid = uid, gid
    if isinstance(node, Directory):
        for child in node.children.values():
            _give(child, uid, gid)
