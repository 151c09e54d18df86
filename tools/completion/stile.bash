# Completion of the stile command for bash.

# The words that may stand at this place, for _stile.
_stile_words()
{
    case $1 in
    lock) echo --nonblock --wait --conflict-exit-code --lease --hold-for --label --url --close \
        --verbose --help -n -w -E -o ;;
    inspect) echo --kind --json --url --help ;;
    locks) echo --json --url --help ;;
    release) echo --force --kind --url --help ;;
    doctor) echo --json --url --help ;;
    ping) echo --url --count --help ;;
    help) echo lock inspect locks release doctor ping ;;
    esac
}

# Where the command of `stile lock NAME ... -- COMMAND` begins, 0 if not before the cursor.
_stile_command()
{
    local i

    for ((i = 2; i < COMP_CWORD; i++)); do
        if [[ ${COMP_WORDS[i]} == -- ]]; then
            echo $((i + 1))
            return
        fi
    done
    echo 0
}

_stile()
{
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
    local word=${COMP_WORDS[1]} command=0

    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        mapfile -t COMPREPLY < <(compgen -W \
            "lock inspect locks release doctor ping version help" -- "$current")
        return
    fi
    if [[ $word == lock ]]; then
        command=$(_stile_command)
    fi
    if ((command > 0)); then
        if declare -F _command_offset >/dev/null; then
            _command_offset "$command"
        elif ((command == COMP_CWORD)); then
            mapfile -t COMPREPLY < <(compgen -c -- "$current")
        else
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
        fi
        return
    fi
    case $previous in
    --kind) mapfile -t COMPREPLY < <(compgen -W "lock rlock" -- "$current") ;;
    --url) mapfile -t COMPREPLY < <(compgen -W "redis:// unix:// file:" -- "$current") ;;
    --wait | -w | --lease | --hold-for | --label | --conflict-exit-code | -E | --count) ;;
    *) if [[ $current == -* || $word == help ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(_stile_words "$word")" -- "$current")
    fi ;;
    esac
}

complete -F _stile stile
