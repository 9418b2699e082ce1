# SPDX-License-Identifier: GPL-3.0-or-later
"""What HTCondor and libvirt call at the turns of a VM's life: thin entry points over the modules beside."""
