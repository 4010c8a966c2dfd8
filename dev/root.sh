# For the scripts in this folder to source, after environment.sh: clean roots of Debian releases, made by mmdebstrap, and
# commands that run in them. Whatever is mounted is so in a mount namespace of its own, which ends with the command.
# So a root may be removed at any time.
# shellcheck shell=bash

# Why no root can be made on this machine; prints nothing if they can.
root_problem() {
  local output
  output=$(as_root unshare --mount --pid --fork --kill-child --mount-proc true 2>&1) ||
    echo "this machine does not permit namespaces ($output): run it as root, or in a container with CAP_SYS_ADMIN"
}

# The code name of this machine's Debian release.
machine_release() { (. /etc/os-release && echo "$VERSION_CODENAME"); }

# debian_sources RELEASE: what the machine installs Debian's packages from, for that release. Those of another release
# come without its updates, which may have no counterpart there.
debian_sources() {
  local release=$1 machine options='signed-by=/usr/share/keyrings/debian-archive-keyring.gpg'
  machine=$(machine_release)
  # An old mirror is as good as a new one.
  [ "$release" = "$machine" ] || options+=' check-valid-until=no'
  # shellcheck disable=SC2016 # apt's own variables
  apt-get indextargets --format '$(SITE) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' 'Origin: Debian' | sort -u |
    while read -r site suite component; do
      if [ "$release" = "$machine" ]; then
        echo "deb [$options] $site $suite $component"
      elif [ "$suite" = "$machine" ]; then
        echo "deb [$options] $site $release $component"
      fi
    done
}

# make_root RELEASE TARGET [ARGUMENT…]: mmdebstrap makes a minimal root of a Debian release, a folder or a tar archive.
make_root() {
  local release=$1 target=$2 sources
  shift 2
  sources=$(debian_sources "$release")
  [ -n "$sources" ] || fail "apt has no lists of Debian's packages: run apt-get update"
  as_root unshare --mount --pid --fork --kill-child --mount-proc mmdebstrap --quiet --variant=minbase \
    --dpkgopt=force-unsafe-io --include=ca-certificates "$@" "$release" "$target" - <<<"$sources"
}

# prepare_root ROOT: it starts no services, has the machine's name servers, and trusts the authorities that were added to
# the machine's, such as that of a company's proxy.
prepare_root() {
  printf '#!/bin/sh\nexit 101\n' | as_root install -m 755 /dev/stdin "$1/usr/sbin/policy-rc.d"
  as_root cp -L /etc/resolv.conf "$1/etc/resolv.conf"
  if compgen -G '/usr/local/share/ca-certificates/*.crt' >/dev/null; then
    as_root cp -L /usr/local/share/ca-certificates/*.crt "$1/usr/local/share/ca-certificates/"
    in_root "$1" update-ca-certificates >/dev/null 2>&1
  fi
}

# isolated ROOT COMMAND…: runs a command with processes of its own, and with what programs need mounted in ROOT. What
# still runs at its end is killed.
isolated() {
  # shellcheck disable=SC2016 # the inner shell's
  as_root unshare --mount --pid --fork --kill-child --mount-proc -- sh -ec '
    mount -t proc proc "$1/proc"
    mkdir -p "$1/dev/shm"
    mount -t tmpfs tmpfs "$1/dev/shm"
    shift
    exec "$@"' sh "$@"
}

# in_root ROOT COMMAND…: the same in ROOT, with the network. VARIABLE=VALUE may come before the command.
in_root() {
  local in=$1
  shift
  isolated "$in" chroot "$in" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
    NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt DEBIAN_FRONTEND=noninteractive "$@"
}
