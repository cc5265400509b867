"""Tests. A package by name, since others install one of that name too."""
