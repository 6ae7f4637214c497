
# Networks are asked for; namespaces have names, too.
complete -c cnitool -n "__fish_seen_subcommand_from add check del gc status" -f -a "(cnitool networks 2>/dev/null)"
complete -c cnitool -n "__fish_seen_subcommand_from add check del" -F -a "/run/netns/*"
