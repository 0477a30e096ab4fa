#!/bin/sh
# Installs `infra` @VERSION@ on Linux and macOS. Downloads the archive for this system, verifies the signature of the checksums and the
# checksum of the archive, runs the program once, and only then replaces the installed one. Needs curl, openssl and tar.
# Replaces a newer program only with --downgrade.
#
#   sh install.sh [--to DIRECTORY] [--downgrade]
set -eu

version='@VERSION@'
url='@URL@'
# Signs the checksums of each release. SECURITY.md has the same key.
public_key='@PUBLIC_KEY@'

main() {
    read_arguments "$@"
    umask 022
    find_target
    archive=infra-$version-$target.tar.gz

    # Everything is downloaded and verified in a directory of this run, and in a file next to the installed program.
    work='' new=''
    trap clean_up EXIT
    trap 'exit 1' HUP INT TERM
    prepare_directory
    refuse_downgrade
    work=$(mktemp -d)
    download SHA256SUMS
    download SHA256SUMS.sig
    verify_signature
    download "$archive"
    verify_checksum
    unpack
    mv -f "$new" "$to/infra"
    new=''
    report
}

read_arguments() {
    if [ "$(id -u)" = 0 ]; then to=/usr/local/bin; else to=$HOME/.local/bin; fi
    may_downgrade=false
    while [ $# -gt 0 ]; do
        case $1 in
            --to)
                [ -n "${2:-}" ] || fail_usage "--to needs a directory"
                to=$2
                shift 2
                ;;
            --downgrade)
                may_downgrade=true
                shift
                ;;
            *) fail_usage "unknown argument $1" ;;
        esac
    done
    for tool in curl openssl tar; do
        command -v "$tool" >/dev/null || fail "cannot install infra: $tool is missing" "" "install $tool, and run this script again"
    done
}

find_target() {
    system=$(uname -s) machine=$(uname -m)
    case $machine in
        x86_64 | amd64) machine=x86_64 ;;
        aarch64 | arm64) machine=aarch64 ;;
        *) fail "cannot install infra: there is no program for $system on $machine" "" "build it from source: $url" ;;
    esac
    case $system in
        Darwin)
            # Under Rosetta, `uname` reports an Intel machine.
            [ "$(sysctl -n sysctl.proc_translated 2>/dev/null || true)" != 1 ] || machine=aarch64
            target=$machine-apple-darwin
            ;;
        Linux)
            case $(ldd --version 2>&1 || true) in
                *musl*) target=$machine-unknown-linux-musl ;;
                *) target=$machine-unknown-linux-gnu ;;
            esac
            ;;
        *) fail "cannot install infra: there is no program for $system" "" "build it from source: $url" ;;
    esac
}

# Creates the file that replaces the program, so that an unwritable directory is found before the download.
prepare_directory() {
    hint="name a directory that you can write to: --to DIRECTORY"
    said=$(mkdir -p -- "$to" 2>&1) || fail "cannot create $to" "$said" "$hint"
    # For the file's name, also if `to` is relative or starts with a dash.
    to=$(CDPATH='' cd -- "$to" && pwd) || fail "cannot enter $to" "" "$hint"
    [ ! -d "$to/infra" ] || fail "cannot install infra: $to/infra is a directory" "" "$hint"
    said=$(mktemp "$to/.infra.XXXXXX" 2>&1) || fail "cannot write to $to" "$said" "$hint"
    new=$said
}

# The signature of an old release stays valid, so that its script could bring back what newer versions have fixed.
refuse_downgrade() {
    "$may_downgrade" && return
    installed=$("$to/infra" --version </dev/null 2>/dev/null) || return 0
    case $installed in
        "infra "[0-9]*) ;;
        *) return 0 ;;
    esac
    ! is_newer "${installed#infra }" "$version" || fail "cannot install infra $version: $to/infra is newer" \
        "$installed is installed" "use the script of a newer release; to install the older version all the same, add --downgrade"
}

# Whether version $1 is newer than $2 (semver.org, section 11).
is_newer() {
    awk -v one="$1" -v other="$2" '
        # Compares fields that dots separate: 1 if a is newer, -1 if it is older.
        function compare(a, b,   as, bs, as_many, bs_many, i, x, y) {
            as_many = split(a, as, ".")
            bs_many = split(b, bs, ".")
            for (i = 1; i <= as_many && i <= bs_many; i++) {
                x = as[i] "" ~ /^[0-9]+$/
                y = bs[i] "" ~ /^[0-9]+$/
                if (x && y && as[i] + 0 != bs[i] + 0) return as[i] + 0 > bs[i] + 0 ? 1 : -1
                if (x != y) return x ? -1 : 1
                if (!x && as[i] "" != bs[i] "") return as[i] "" > bs[i] "" ? 1 : -1
            }
            return as_many == bs_many ? 0 : as_many > bs_many ? 1 : -1
        }
        # What follows the first dash: a version before the release. Empty for the release.
        function early(version) { return index(version, "-") ? substr(version, index(version, "-") + 1) : "" }
        function core(version) { sub(/-.*/, "", version); return version }
        BEGIN {
            sub(/\+.*/, "", one)
            sub(/\+.*/, "", other)
            order = compare(core(one), core(other))
            if (order == 0 && (early(one) == "") != (early(other) == "")) order = early(one) == "" ? 1 : -1
            if (order == 0) order = compare(early(one), early(other))
            exit order == 1 ? 0 : 1
        }'
}

# Over HTTPS only, redirects included, and no more than 100 MB.
download() {
    said=$(curl --proto '=https' --tlsv1.2 --fail --silent --show-error --location --connect-timeout 20 --max-time 600 \
        --max-filesize 104857600 --output "$work/$1" "$url/releases/download/v$version/$1" 2>&1) ||
        fail "cannot download $1" "$said" "check your network, and run this script again"
}

verify_signature() {
    printf '%s\n' "$public_key" >"$work/key.pem"
    openssl dgst -sha256 -verify "$work/key.pem" -signature "$work/SHA256SUMS.sig" "$work/SHA256SUMS" >/dev/null 2>&1 ||
        fail "cannot trust the release: the signature of SHA256SUMS is wrong" "" "report it as SECURITY.md says; nothing was installed"
}

verify_checksum() {
    expected=$(awk -v name="$archive" '$2 == name { print $1 }' "$work/SHA256SUMS")
    [ -n "$expected" ] || fail "cannot install infra: SHA256SUMS does not list $archive" "" "build it from source: $url"
    found=$(openssl dgst -sha256 -r "$work/$archive")
    found=${found%% *}
    [ "$found" = "$expected" ] || fail "cannot trust $archive: its checksum is wrong" "expected $expected, found $found" \
        "run this script again; if it fails again, report it as SECURITY.md says; nothing was installed"
}

unpack() {
    program=infra-$version-$target/bin/infra
    said=$(tar -xzf "$work/$archive" -C "$work" "$program" 2>&1) || fail "cannot unpack $archive" "$said" ""
    cat "$work/$program" >"$new"
    chmod 755 "$new"
    said=$("$new" --version 2>&1) || fail "cannot run infra on this system" "$said" "build it from source: $url"
    [ "$said" = "infra $version" ] || fail "cannot install infra: the program is another version" "$said" ""
}

report() {
    printf 'installed infra %s as %s/infra\n' "$version" "$to"
    case :$PATH: in
        *:"$to":*) ;;
        *) printf 'add %s to your PATH\n' "$to" ;;
    esac
}

clean_up() {
    [ -z "$new" ] || rm -f -- "$new"
    [ -z "$work" ] || rm -rf -- "$work"
}

# $1 what failed, $2 the reason or nothing, $3 what to try or nothing.
fail() {
    printf 'error: %s\n' "$1" >&2
    [ -z "$2" ] || printf '  because: %s\n' "$2" >&2
    [ -z "$3" ] || printf '  try: %s\n' "$3" >&2
    exit 1
}

fail_usage() {
    printf 'error: %s\n  try: sh install.sh [--to DIRECTORY] [--downgrade]\n' "$1" >&2
    exit 2
}

# At the end, so that a partial download of this script does nothing.
main "$@"
