# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_telegen_sonic_global_optspecs
    string join \n database-config= h/help V/version
end

function __fish_telegen_sonic_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_telegen_sonic_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_telegen_sonic_using_subcommand
    set -l cmd (__fish_telegen_sonic_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c telegen-sonic -n "__fish_telegen_sonic_needs_command" -l database-config -d 'Where SONiC says which Redis holds which database' -r -F
complete -c telegen-sonic -n "__fish_telegen_sonic_needs_command" -s h -l help -d 'Print help'
complete -c telegen-sonic -n "__fish_telegen_sonic_needs_command" -s V -l version -d 'Print version'
complete -c telegen-sonic -n "__fish_telegen_sonic_needs_command" -f -a "daemon" -d 'Run the daemon until SIGTERM'
complete -c telegen-sonic -n "__fish_telegen_sonic_needs_command" -f -a "analyze" -d 'What a job would find in capture files; needs no switch and no daemon'
complete -c telegen-sonic -n "__fish_telegen_sonic_needs_command" -f -a "start" -d 'Start a job on a port'
complete -c telegen-sonic -n "__fish_telegen_sonic_needs_command" -f -a "status" -d 'Where a job is; without ID, how the daemon is (exit code 1 if it does not run)'
complete -c telegen-sonic -n "__fish_telegen_sonic_needs_command" -f -a "list" -d 'All known jobs'
complete -c telegen-sonic -n "__fish_telegen_sonic_needs_command" -f -a "results" -d 'What a job has found'
complete -c telegen-sonic -n "__fish_telegen_sonic_needs_command" -f -a "stop" -d 'Stop a job and wait until it is over'
complete -c telegen-sonic -n "__fish_telegen_sonic_needs_command" -f -a "watch" -d 'Follow a job until it is over'
complete -c telegen-sonic -n "__fish_telegen_sonic_needs_command" -f -a "drain" -d 'End every job and leave no mirror session of ours behind, also without a daemon; with PORT, of that port'
complete -c telegen-sonic -n "__fish_telegen_sonic_needs_command" -f -a "dump" -d 'Everything that support needs, as JSON'
complete -c telegen-sonic -n "__fish_telegen_sonic_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand daemon" -l state-dir -d 'A directory that does not outlive a reboot, for the daemon\'s lock and its notes about qdiscs' -r -F
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand daemon" -l attach -d 'How taps attach: auto (tcx where the kernel has it), tcx or clsact' -r
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand daemon" -l syslog -d 'Where the system log listens' -r -F
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand daemon" -l database-config -d 'Where SONiC says which Redis holds which database' -r -F
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand daemon" -s h -l help -d 'Print help'
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand analyze" -l sample-rate -d 'Analyse 1 packet of N; totals are always exact [default: 100]' -r
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand analyze" -l vlan -d 'Only this VLAN' -r
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand analyze" -l filter -d 'Only matching packets; may be repeated. Keys: vlan, ip_proto, l4_sport, l4_dport, src_cidr, dst_cidr, dscp' -r
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand analyze" -l detail -d 'What is kept: summary or flows [default: flows]' -r
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand analyze" -l database-config -d 'Where SONiC says which Redis holds which database' -r -F
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand analyze" -l inner -d 'Look into tunnels: filters and flows then speak of what is inside of VXLAN, Geneve, GRE, IP-in-IP and MPLS, where there is something'
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand analyze" -l anonymize -d 'Show keyed hashes instead of addresses'
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand analyze" -l json -d 'Print JSON'
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand analyze" -s h -l help -d 'Print help'
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand start" -l duration -d 'Seconds; the same as DURATION' -r
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand start" -l kind -d 'What the job is: traffic, the packets of PORT [default: traffic]' -r
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand start" -l direction -d 'Which traffic of the port: ingress, egress or both [default: ingress]' -r
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand start" -l span-method -d 'How copies reach the CPU: span, erspan or none [default: TELEGEN|global span_method]' -r
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand start" -l sample-rate -d 'Analyse 1 packet of N; totals are always exact [default: TELEGEN|global default_sample_rate]' -r
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand start" -l mirror-sample-rate -d 'Let the ASIC copy 1 packet of N, where it can (span_method erspan); totals are then of copies [default: every packet]' -r
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand start" -l mirror-truncate -d 'Let the ASIC cut copies to this many bytes, where it can (span_method erspan) [default: whole]' -r
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand start" -l vlan -d 'Only this VLAN' -r
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand start" -l filter -d 'Only matching packets; may be repeated. Keys: vlan, ip_proto, l4_sport, l4_dport, src_cidr, dst_cidr, dscp' -r
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand start" -l detail -d 'What is kept: summary or flows [default: flows]' -r
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand start" -l id -d 'Id of the job [default: 12 random hex digits]' -r
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand start" -l description -d 'Shown with the job, never interpreted' -r
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand start" -l owner -d 'Shown with the job, never interpreted' -r
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand start" -l database-config -d 'Where SONiC says which Redis holds which database' -r -F
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand start" -l inner -d 'Look into tunnels: filters and flows then speak of what is inside of VXLAN, Geneve, GRE, IP-in-IP and MPLS, where there is something'
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand start" -l no-otlp -d 'Do not export this job by OTLP'
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand start" -l anonymize -d 'Addresses leave the daemon only as keyed hashes'
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand start" -l wait -d 'Stay until the job is over, then print its results'
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand start" -l dry-run -d 'Check, print the row that would be written, and write nothing'
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand start" -l json -d 'Print JSON'
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand start" -s h -l help -d 'Print help'
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand status" -l database-config -d 'Where SONiC says which Redis holds which database' -r -F
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand status" -l json -d 'Print JSON'
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand status" -s h -l help -d 'Print help'
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand list" -l database-config -d 'Where SONiC says which Redis holds which database' -r -F
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand list" -l json -d 'Print JSON'
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand list" -s h -l help -d 'Print help'
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand results" -l database-config -d 'Where SONiC says which Redis holds which database' -r -F
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand results" -l json -d 'Print JSON'
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand results" -s h -l help -d 'Print help'
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand stop" -l database-config -d 'Where SONiC says which Redis holds which database' -r -F
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand stop" -l all -d 'Every job'
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand stop" -l json -d 'Print JSON'
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand stop" -s h -l help -d 'Print help'
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand watch" -l database-config -d 'Where SONiC says which Redis holds which database' -r -F
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand watch" -l json -d 'Print JSON'
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand watch" -s h -l help -d 'Print help'
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand drain" -l state-dir -d 'A directory that does not outlive a reboot, for the daemon\'s lock and its notes about qdiscs' -r -F
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand drain" -l database-config -d 'Where SONiC says which Redis holds which database' -r -F
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand drain" -l json -d 'Print JSON'
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand drain" -s h -l help -d 'Print help'
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand dump" -l database-config -d 'Where SONiC says which Redis holds which database' -r -F
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand dump" -l json -d 'Print JSON'
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand dump" -s h -l help -d 'Print help'
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand help; and not __fish_seen_subcommand_from daemon analyze start status list results stop watch drain dump help" -f -a "daemon" -d 'Run the daemon until SIGTERM'
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand help; and not __fish_seen_subcommand_from daemon analyze start status list results stop watch drain dump help" -f -a "analyze" -d 'What a job would find in capture files; needs no switch and no daemon'
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand help; and not __fish_seen_subcommand_from daemon analyze start status list results stop watch drain dump help" -f -a "start" -d 'Start a job on a port'
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand help; and not __fish_seen_subcommand_from daemon analyze start status list results stop watch drain dump help" -f -a "status" -d 'Where a job is; without ID, how the daemon is (exit code 1 if it does not run)'
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand help; and not __fish_seen_subcommand_from daemon analyze start status list results stop watch drain dump help" -f -a "list" -d 'All known jobs'
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand help; and not __fish_seen_subcommand_from daemon analyze start status list results stop watch drain dump help" -f -a "results" -d 'What a job has found'
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand help; and not __fish_seen_subcommand_from daemon analyze start status list results stop watch drain dump help" -f -a "stop" -d 'Stop a job and wait until it is over'
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand help; and not __fish_seen_subcommand_from daemon analyze start status list results stop watch drain dump help" -f -a "watch" -d 'Follow a job until it is over'
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand help; and not __fish_seen_subcommand_from daemon analyze start status list results stop watch drain dump help" -f -a "drain" -d 'End every job and leave no mirror session of ours behind, also without a daemon; with PORT, of that port'
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand help; and not __fish_seen_subcommand_from daemon analyze start status list results stop watch drain dump help" -f -a "dump" -d 'Everything that support needs, as JSON'
complete -c telegen-sonic -n "__fish_telegen_sonic_using_subcommand help; and not __fish_seen_subcommand_from daemon analyze start status list results stop watch drain dump help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
