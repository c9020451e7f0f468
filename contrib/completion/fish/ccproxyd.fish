# Made by `make completion` of ccproxyd/ctl/parser.py.

complete -c ccproxyd -f
complete -c ccproxyd -s h -l help -d 'show the options'
complete -c ccproxyd -l config-dir -r -f -a '(__fish_complete_directories)' -d 'where the config is'
complete -c ccproxyd -l demo -d 'try it with an offline provider, without keys'
complete -c ccproxyd -l host -r -f -d 'listen here instead of at ccproxy.host'
complete -c ccproxyd -l port -r -f -d 'listen here instead of at ccproxy.port'
complete -c ccproxyd -l debug -d 'log more'
complete -c ccproxyd -l log-file -r -F -d 'log to this file, which is capped'
complete -c ccproxyd -l wait-for-config -d 'with a wrong config, wait for a good one'
complete -c ccproxyd -l version -d 'show the version'
