"""Employees, departments and mail groups: what is wished, what is there, and the way from one to the other."""
