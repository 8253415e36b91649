#!/usr/bin/env bash
# Sluice's Debian packages.
#
#   deps.sh install GROUP...   lists what is missing and why, then installs it; does nothing when all is there
#   deps.sh verify GROUP...    names what is missing and the command that installs it; fails when something is
#
# Groups and packages stand in packages.tsv.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

usage() { sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 2; }
[ $# -ge 2 ] || usage
verb=$1; shift

command -v dpkg-query >/dev/null || {
    echo "deps: this script knows Debian and its relatives only; install the packages of $here/packages.tsv by hand" >&2
    [ "$verb" = verify ] && exit 0
    exit 1
}

# A JDK already on the machine serves as the runtime; so does a Maven or a Python that did not come from Debian.
present() {
    case $1 in
    openjdk-17-jre-headless) command -v java >/dev/null && return 0 ;;
    maven) command -v mvn >/dev/null && return 0 ;;
    clang) [ -x /usr/bin/clang ] && return 0 ;;
    esac
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

missing=()
for group in "$@"; do
    while IFS=$'\t' read -r g package why; do
        [ "$g" = "$group" ] || continue
        present "$package" || missing+=("$package"$'\t'"$why")
    done < "$here/packages.tsv"
done
[ ${#missing[@]} -gt 0 ] || exit 0

names=$(printf '%s\n' "${missing[@]}" | cut -f1 | tr '\n' ' ')
{
    echo "Sluice needs these packages ($*):"
    printf '%s\n' "${missing[@]}" | sed 's/^/  /' | expand -t 28
} >&2

case $verb in
verify)
    echo "Install them with:  make deps    (or: apt-get install $names)" >&2
    exit 1 ;;
install)
    if [ "$(id -u)" != 0 ]; then
        echo "Installing needs root:  sudo make deps    (or: sudo apt-get install $names)" >&2
        exit 1
    fi
    export DEBIAN_FRONTEND=noninteractive
    echo "Installing them with apt-get ..." >&2
    # shellcheck disable=SC2086
    apt-get install -y -qq --no-install-recommends $names >/dev/null 2>&1 || {
        apt-get update -qq
        apt-get install -y -qq --no-install-recommends $names >/dev/null
    } ;;
*) usage ;;
esac
