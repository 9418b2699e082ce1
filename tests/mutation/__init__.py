# SPDX-License-Identifier: GPL-3.0-or-later
"""Mutation testing of what guards a node: which small changes of a module does no unit test of it notice?"""
