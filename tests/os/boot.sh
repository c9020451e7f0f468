#!/bin/bash
# boot.sh ROOT [TARGET:SOURCE]... - the first process of a machine; machine.py starts it.
#
# It comes into namespaces of its own (PID, mount, cgroup, IPC, UTS, network), builds a root below
# the empty directory ROOT, moves into it, and becomes systemd. Of the host the machine sees /usr
# and each SOURCE, both read-only, and a copy of /etc; all else is new, in memory, and gone with it.
# So what systemd does when it boots (empty /tmp, make directories, set permissions) it does to
# files of the machine's alone: that holds by what is mounted, not by what it is told to leave out.
#
# $READY_SOCKET is where systemd reports, as to any container manager, that it is up.

set -eu

root=$1
shift

mount_files() {
    mount -t tmpfs -o mode=0755 machine "$root"
    cd "$root"
    mkdir -p dev etc home mnt opt proc root run srv sys tmp usr \
        var/cache var/lib/systemd/linger var/log/journal var/spool var/tmp
    chmod 1777 tmp var/tmp
    bind_readonly /usr usr
    for directory in bin sbin lib lib32 lib64 libx32; do
        if [[ -L /$directory ]]; then
            cp -P "/$directory" .
        elif [[ -d /$directory ]]; then
            bind_readonly "/$directory" "$directory"
        fi
    done
    cp -a /etc .
    for pair in "$@"; do
        bind_readonly "${pair#*:}" "$root${pair%%:*}"
    done
}

bind_readonly() {
    [[ -e $2 ]] || mkdir -p "$2"
    mount --bind "$1" "$2"
    mount -o remount,bind,ro "$2"
}

mount_kernel() {
    mount -t proc -o nosuid,nodev,noexec proc proc
    for setting in proc/sys proc/sysrq-trigger; do # no namespace has these to itself
        if [[ -e $setting ]]; then
            bind_readonly "$setting" "$setting"
        fi
    done
    mount -t sysfs -o ro,nosuid,nodev,noexec sysfs sys
    mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 sys/fs/cgroup
    mount -t tmpfs -o mode=0755,nosuid,nodev run run
    mount -t tmpfs -o mode=0755,nosuid dev dev # else systemd mounts the host's
    mkdir dev/pts dev/shm
    cp -a /dev/{null,zero,full,random,urandom,tty} dev
    mount -t devpts -o newinstance,mode=0620,ptmxmode=0666,nosuid,noexec devpts dev/pts
    mount -t tmpfs -o mode=1777,nosuid,nodev shm dev/shm
    ln -s pts/ptmx dev/ptmx
    ln -s /proc/self/fd dev/fd
    ln -s fd/0 dev/stdin
    ln -s fd/1 dev/stdout
    ln -s fd/2 dev/stderr
}

enter() {
    touch run/ready
    mount --bind "$READY_SOCKET" run/ready
    pivot_root . .
    umount --lazy .
    cd /
    mount --make-rshared / # systemd sets up a service's credentials through this
    echo machine >/etc/hostname
}

# The host's own services stay out; nothing that looks for hardware or a clock is wanted.
configure() {
    local units=/etc/systemd/system unit
    rm -rf "$units" /etc/systemd/user /etc/fstab /etc/nologin
    mkdir -p "$units" /etc/systemd/journald.conf.d /run/no-generators
    for unit in kmod-static-nodes modprobe@ systemd-binfmt systemd-firstboot \
        systemd-machine-id-commit systemd-modules-load systemd-pcrphase systemd-pcrphase-sysinit \
        systemd-random-seed systemd-remount-fs systemd-repart systemd-sysctl systemd-timesyncd \
        systemd-tmpfiles-setup-dev systemd-udevd systemd-update-utmp; do
        ln -s /dev/null "$units/$unit.service"
    done
    for unit in dev-hugepages.mount dev-mqueue.mount proc-sys-fs-binfmt_misc.automount \
        sys-fs-fuse-connections.mount sys-kernel-config.mount sys-kernel-debug.mount \
        sys-kernel-tracing.mount systemd-ask-password-console.path systemd-ask-password-wall.path \
        systemd-initctl.socket systemd-journald-audit.socket; do
        ln -s /dev/null "$units/$unit"
    done
    cat >"$units/machine.target" <<'UNIT'
[Unit]
Requires=basic.target
Wants=dbus.socket systemd-logind.service systemd-user-sessions.service
After=basic.target systemd-logind.service systemd-user-sessions.service
AllowIsolate=yes
UNIT
    # `journalctl --user` reads a journal of the user's own, which only a kept one has.
    printf '%s\n' '[Journal]' Storage=persistent SplitMode=uid ReadKMsg=no Audit=no \
        ForwardToSyslog=no RateLimitBurst=0 >/etc/systemd/journald.conf.d/machine.conf
    useradd --uid 4711 --user-group --create-home --shell /bin/bash tester
    touch /var/lib/systemd/linger/tester
}

mount_files "$@"
mount_kernel
enter
configure

systemd=/usr/lib/systemd/systemd
[[ -x $systemd ]] || systemd=/lib/systemd/systemd
# What would reach out of the namespaces is given up.
exec setpriv --bounding-set=-sys_boot,-sys_module,-sys_rawio,-sys_time,-syslog,-mac_admin \
    env -i container=ccproxyd-tests NOTIFY_SOCKET=/run/ready LANG=C.UTF-8 \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    SYSTEMD_GENERATOR_PATH=/run/no-generators \
    "$systemd" --system --unit=machine.target --show-status=no --log-target=journal
