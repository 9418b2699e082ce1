# SPDX-License-Identifier: GPL-3.0-or-later
"""The first VMs of a site: a small image made of a node's own files, and the jobs that boot it on every node."""
