"""nginx site files: read as nginx reads them, guarded, audited.

Pure: text in, text out. Nothing here touches a file or a host.
"""
