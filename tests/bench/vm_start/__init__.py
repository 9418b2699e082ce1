# SPDX-License-Identifier: GPL-3.0-or-later
"""What starting and ending a VM costs a worker node: HTCondorVMs' three scripts beside ours."""
