"""Copies of the store in other places: folders and buckets, with the store's own layout.

A copy never shares bytes with the store: what is linked dies with what it is linked to. So even on
a file system that could share them, every byte is written anew and read back.
"""
