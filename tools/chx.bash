# SPDX-License-Identifier: MIT
# Completion of the command chx for bash. What may stand where is asked of chx itself, which answers from the tables
# that it parses with; only names of files are found here.

_chx()
{
  local line=${COMP_LINE:0:COMP_POINT} words cur answer IFS=$' \t\n'

  # Words from the line itself: COMP_WORDS has them cut at each '=' and ':'.
  read -ra words <<<"$line"
  if [[ $line == *[[:space:]] ]]; then words+=(''); fi
  cur=${words[-1]}
  if [[ $cur == --*=* ]]; then
    words[-1]=${cur%%=*}
    cur=${cur#*=}
    words+=("$cur")
  fi
  answer=$("${words[0]}" complete "${words[@]:1}" 2>/dev/null)
  IFS=$'\n'
  case $answer in
    :file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
    :dir)  compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;
    *)     mapfile -t COMPREPLY < <(compgen -W "$answer" -- "$cur") ;;
  esac
  # bash replaces what follows the last ':' only
  COMPREPLY=("${COMPREPLY[@]#"${cur%"${cur##*:}"}"}")
}
complete -F _chx chx
