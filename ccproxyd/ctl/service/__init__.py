"""The daemon as a service: what systemd or launchd know of it, and what they do with it.

manager      the facts of a service, and what every service manager can do
find         whether a service is what a command is about, and which one; reads no more than
             directory entries, since every `ccproxyctl status` passes here
systemd      systemctl, loginctl and journalctl; `properties` reads what they say
launchd      launchctl
work         a manager's work with a line on the terminal that says how far it is
"""
