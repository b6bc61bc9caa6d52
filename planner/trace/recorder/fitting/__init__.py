"""Recordings at several points become integers: forms in B, S, T and the classes C."""
