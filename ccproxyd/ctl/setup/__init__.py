"""What `install` writes, and `uninstall` takes away.

site         where an installation is, and for whom
executables  which commands a service has to run, and whether it will see them
units        systemd's unit files, with those commands and the port of the config; PURE
agent        launchd's property list, likewise; PURE
marker       a line that says that a file is ours, and whether it was edited since; PURE
files        what becomes of a file that is there already, and doing it
samples      the config: its files, and which of them were never edited
plan         which files belong to a site
report       what was done
"""
