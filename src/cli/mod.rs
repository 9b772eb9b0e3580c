//! The command line: `start`, `status`, `list`, `results`, `stop`, `watch`, `drain`, `dump`, on the same tables as everybody else.
