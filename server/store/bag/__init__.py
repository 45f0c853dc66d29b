"""Bags (BagIt, RFC 8493): the store on media that travel, in a form that libraries know.

The payload has the store's layout, and every bag is valid by itself. A revision that is spread over
several bags has its whole receipt in each, so that they can come back in any order.
"""
