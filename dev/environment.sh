# For the scripts in this folder to source: where things are, and who runs the server.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
jobs=${JOBS:-$(nproc)}

# help_if_asked ARGUMENT…: with --help among them, prints the comment at the head of the script and ends it.
help_if_asked() {
  local argument
  for argument; do
    if [[ $argument == --help || $argument == -h ]]; then
      awk 'NR == 1 { next } !/^#/ { exit } { sub(/^# ?/, ""); print }' "$0"
      exit
    fi
  done
}

step() { printf '==> %s\n' "$*"; }
fail() { printf '%s: %s\n' "$0" "$*" >&2; exit 1; }

# git in this checkout, also if another user than its owner runs it.
git_here() { git -C "$root" -c safe.directory="$root" "$@"; }

# The names of the files of the source, each with a null character.
source_files() {
  if git_here rev-parse --verify -q HEAD >/dev/null 2>&1; then
    # Without those that were removed and are still in the index.
    comm -z23 <(git_here ls-files -z | LC_ALL=C sort -zu) <(git_here ls-files -z --deleted | LC_ALL=C sort -zu)
  else
    (cd "$root" && find . \( -path ./build -o -path ./.pc -o -name node_modules \) -prune -o \
      \( -type f -o -type l \) ! -name '*.[do]' ! -name '*.so' ! -name '*.bc' ! -path './webhook--*.sql' -printf '%P\0')
  fi
}

# copy_source DIR [as_root]: these files, as they are here.
copy_source() { source_files | tar -C "$root" --null --no-recursion -T - -cf - | ${2:-} tar -C "$1" --no-same-owner -xf -; }

# The majors of the servers that Debian's packages have installed, oldest first.
installed_majors() {
  local server
  for server in /usr/lib/postgresql/*/bin/postgres; do
    [ -x "$server" ] && basename "$(dirname "$(dirname "$server")")"
  done | sort -n
}

# Sets PG_CONFIG, unless it is set, to that of the newest server installed, and pg_bindir.
find_postgresql() {
  local major
  if [ -z "${PG_CONFIG:-}" ]; then
    major=$(installed_majors | tail -n 1)
    PG_CONFIG=pg_config
    [ -z "$major" ] || PG_CONFIG=/usr/lib/postgresql/$major/bin/pg_config
  fi
  export PG_CONFIG
  pg_bindir=$("$PG_CONFIG" --bindir) || fail "no PostgreSQL found: set PG_CONFIG"
}

# PostgreSQL refuses to run as root; then its own user runs it.
as_server_user() {
  if [ "$EUID" -eq 0 ]; then
    # From a folder that this user may not enter, its programs complain.
    (cd / && runuser -u postgres -- "$@")
  else
    "$@"
  fi
}

# What root made for the server's user is to be that user's.
give_to_server_user() {
  [ "$EUID" -ne 0 ] || chown -R postgres "$@"
}

as_root() {
  if [ "$EUID" -eq 0 ]; then
    "$@"
  else
    sudo "$@"
  fi
}

# A folder for a cluster and its sockets, outside a home that the server's user may not enter. Its path is short:
# that of a socket is limited to 107 bytes.
make_work_dir() {
  local dir
  dir=$(mktemp -d "/tmp/$1.XXXXXX")
  chmod 755 "$dir"
  give_to_server_user "$dir"
  echo "$dir"
}

# start_cluster DIR [SETTING…]: initialises a cluster in DIR/data and starts it, reached through sockets in DIR alone.
start_cluster() {
  local dir=$1 setting
  shift
  as_server_user "$pg_bindir/initdb" --no-sync -A trust -U postgres -E UTF8 --locale=C -D "$dir/data" >/dev/null
  for setting in "listen_addresses = ''" "unix_socket_directories = '$dir'" "shared_preload_libraries = 'webhook'" "$@"; do
    echo "$setting"
  done | as_server_user tee -a "$dir/data/postgresql.conf" >/dev/null
  as_server_user "$pg_bindir/pg_ctl" -s -w -D "$dir/data" -l "$dir/server.log" start || {
    cat "$dir/server.log" >&2
    return 1
  }
}

# stop_server DATA_DIR: if one runs there.
stop_server() {
  [ ! -f "$1/postmaster.pid" ] || as_server_user "$pg_bindir/pg_ctl" -s -D "$1" -m immediate stop || true
}

# PGXS sets CXX to the compiler of PostgreSQL, unless it is on make's command line.
[ -z "${CXX:-}" ] || export MAKEFLAGS="${MAKEFLAGS:+$MAKEFLAGS }CXX=$CXX"

# Builds the extension, incrementally, and installs it. What another PostgreSQL or compiler built is built anew.
build_and_install() {
  local log=$root/build/build.log stamp=$root/build/built-for install=() for_what
  for_what="$("$PG_CONFIG" --version --includedir-server --pkglibdir; echo "${CXX:-g++}")"
  mkdir -p "$root/build"
  if [ "$for_what" != "$(cat "$stamp" 2>/dev/null)" ]; then
    find "$root/src" -name '*.o' -delete
    rm -rf "$root/build/unit" "$root/webhook.so"
    echo "$for_what" >"$stamp"
  fi
  make -C "$root" -j "$jobs" >"$log" 2>&1 || { cat "$log" >&2; fail "the build failed"; }
  [ -w "$("$PG_CONFIG" --pkglibdir)" ] || install=(as_root)
  "${install[@]}" make -C "$root" install PG_CONFIG="$PG_CONFIG" >"$log" 2>&1 || {
    cat "$log" >&2
    fail "the installation failed"
  }
}
