
# Networks are asked for; namespaces have names, too.
_cnitool_with_names() {
    _cnitool "$@"
    local current=${COMP_WORDS[COMP_CWORD]} words=() word value=
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case "$value$word" in
        -i | --ifname | --cache-dir | --timeout | --color | --format) value=1 ;;
        -*) ;;
        *) [ -n "$value" ] || words+=("$word"); value= ;;
        esac
    done
    # An option, or the value of one.
    [ -z "$value" ] || return 0
    case $current in -*) return 0 ;; esac
    [ "${words[0]-}" != trace ] || words=("${words[@]:1}")
    case "${#words[@]} ${words[0]-}" in
    "1 add" | "1 check" | "1 del" | "1 gc" | "1 status")
        mapfile -t COMPREPLY < <(compgen -W "$(cnitool networks 2>/dev/null)" -- "$current") ;;
    "2 add" | "2 check" | "2 del")
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -f -- "${current:-/run/netns/}") ;;
    esac
}
complete -F _cnitool_with_names -o bashdefault -o default cnitool
