"""Tests of gradcheck/."""
