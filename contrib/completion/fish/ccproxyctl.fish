# Made by `make completion` of ccproxyd/ctl/parser.py.

function __ccproxyctl_verb_is
    set -l value no
    for word in (commandline -opc)[2..]
        if test $value = yes
            set value no
            continue
        end
        switch $word
            case --socket --config-dir --wait
                set value yes
            case '-*'
            case '*'
                test "$word" = "$argv[1]"
                return
        end
    end
    test -z "$argv[1]"
end

complete -c ccproxyctl -f
complete -c ccproxyctl -s h -l help -d 'show this help message and exit'
complete -c ccproxyctl -l json -d 'print JSON'
complete -c ccproxyctl -l socket -r -F -d 'the daemon\'s control socket'
complete -c ccproxyctl -l config-dir -r -f -a '(__fish_complete_directories)' -d 'where the config is'
complete -c ccproxyctl -l wait -r -f -d 'how long to try to reach a daemon that is starting (default: 0)'
complete -c ccproxyctl -l version -d 'show program\'s version number and exit'
complete -c ccproxyctl -n '__ccproxyctl_verb_is ""' -a status -d 'show how the daemon and its processes are'
complete -c ccproxyctl -n '__ccproxyctl_verb_is ""' -a stats -d 'show requests, tokens, costs and latencies'
complete -c ccproxyctl -n '__ccproxyctl_verb_is ""' -a routes -d 'show the rules and labels in use'
complete -c ccproxyctl -n '__ccproxyctl_verb_is ""' -a explain -d 'say how a request would be routed, and why'
complete -c ccproxyctl -n '__ccproxyctl_verb_is ""' -a reload -d 'take the changed config, without losing a request'
complete -c ccproxyctl -n '__ccproxyctl_verb_is ""' -a restart -d 'replace the workers, the gateway or both, without losing a request'
complete -c ccproxyctl -n '__ccproxyctl_verb_is ""' -a start -d 'start the service, or the daemon in the foreground'
complete -c ccproxyctl -n '__ccproxyctl_verb_is ""' -a stop -d 'finish what is in flight, and end'
complete -c ccproxyctl -n '__ccproxyctl_verb_is ""' -a logs -d 'show what the daemon has logged'
complete -c ccproxyctl -n '__ccproxyctl_verb_is ""' -a check -d 'say whether the config is good, without a daemon'
complete -c ccproxyctl -n '__ccproxyctl_verb_is ""' -a env -d 'print what a client needs to use the daemon'
complete -c ccproxyctl -n '__ccproxyctl_verb_is ""' -a run -d 'run a client that uses the daemon, which is started if need be'
complete -c ccproxyctl -n '__ccproxyctl_verb_is ""' -a install -d 'write the config samples and the service'
complete -c ccproxyctl -n '__ccproxyctl_verb_is ""' -a uninstall -d 'remove the service, and what was never edited'
complete -c ccproxyctl -n '__ccproxyctl_verb_is ""' -a completion -d 'print the completion script of a shell'
complete -c ccproxyctl -n '__ccproxyctl_verb_is stats' -l by -r -f -a 'label model rule' -d '(default: label)'
complete -c ccproxyctl -n '__ccproxyctl_verb_is explain' -F
complete -c ccproxyctl -n '__ccproxyctl_verb_is explain' -l model -r -f -d 'the model that is asked for'
complete -c ccproxyctl -n '__ccproxyctl_verb_is explain' -l prompt -r -f -d 'what the user says, instead of FILE'
complete -c ccproxyctl -n '__ccproxyctl_verb_is explain' -l path -r -f -d 'the request\'s path (default: /v1/messages)'
complete -c ccproxyctl -n '__ccproxyctl_verb_is explain' -l header -r -f -d 'may be given several times'
complete -c ccproxyctl -n '__ccproxyctl_verb_is restart' -f -a 'all workers gateway'
complete -c ccproxyctl -n '__ccproxyctl_verb_is restart' -l all
complete -c ccproxyctl -n '__ccproxyctl_verb_is restart' -l workers
complete -c ccproxyctl -n '__ccproxyctl_verb_is restart' -l gateway
complete -c ccproxyctl -n '__ccproxyctl_verb_is start' -l detach -d 'without a service: run it in the background, with a log of its own'
complete -c ccproxyctl -n '__ccproxyctl_verb_is stop' -l no-wait -d 'do not wait until it is gone'
complete -c ccproxyctl -n '__ccproxyctl_verb_is logs' -s f -l follow -d 'go on with what is logged from now on'
complete -c ccproxyctl -n '__ccproxyctl_verb_is logs' -s n -l lines -r -f -d 'how many of the last lines (default: 50)'
complete -c ccproxyctl -n '__ccproxyctl_verb_is env' -l shell -r -f -a 'sh fish powershell' -d '(default: sh)'
complete -c ccproxyctl -n '__ccproxyctl_verb_is env' -l oauth -d 'the client stays logged in to its own subscription, which pays'
complete -c ccproxyctl -n '__ccproxyctl_verb_is run' -f -a '(__fish_complete_command)'
complete -c ccproxyctl -n '__ccproxyctl_verb_is run' -l oauth -d 'the client stays logged in to its own subscription, which pays'
complete -c ccproxyctl -n '__ccproxyctl_verb_is install' -l force -d 'overwrite edited files; each is kept as a backup'
complete -c ccproxyctl -n '__ccproxyctl_verb_is install' -l system -d 'for the whole system, with /etc/ccproxyd; as root'
complete -c ccproxyctl -n '__ccproxyctl_verb_is install' -l enable -d 'start it now and with every login or boot'
complete -c ccproxyctl -n '__ccproxyctl_verb_is install' -l linger -d 'keep it running while its user is logged out'
complete -c ccproxyctl -n '__ccproxyctl_verb_is uninstall' -l system -d 'the service of the whole system; as root'
complete -c ccproxyctl -n '__ccproxyctl_verb_is uninstall' -l purge -d 'edited config, keys and statistics as well'
complete -c ccproxyctl -n '__ccproxyctl_verb_is completion' -f -a 'bash zsh fish'
