"""Binary formats, which libraries read: a module each; the registry names their `BridgedFormat` or `TableFormat`."""
