"""Requests that show whether a live nginx does what the audit says."""
