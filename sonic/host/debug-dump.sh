#!/bin/sh
# For `show techsupport`, which runs it and keeps what it prints.
exec /usr/bin/telegen-sonic dump
