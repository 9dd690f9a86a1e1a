# What .ci/run needs from the machine: finding it, installing it if that was asked for, and saying what is
# missing. Sourced by .ci/run.
# shellcheck shell=bash

step() { printf '\n== %s\n' "$*"; }

skipped=()

# skip WHAT HOW: something is not checked; HOW is what changes that.
skip() {
  echo "skipped: $1"
  skipped+=("$1: $2")
}

report_skipped() {
  [ ${#skipped[@]} -gt 0 ] || return 0
  step 'skipped, and what changes that'
  printf '%s\n' "${skipped[@]}"
}

has() { command -v "$1" >/dev/null || [ -x "/usr/sbin/$1" ]; }

has_cargo() { cargo "$1" --version >/dev/null 2>&1; }

has_toolchain() { has rustup && rustup toolchain list | grep "^$1" >/dev/null; }

is_root() { [ "$(id -u)" = 0 ]; }

# install_packages PACKAGE...: installs Debian packages; fails if that was not asked for.
install_packages() {
  $may_install || return 1
  apt-get update -q && apt-get install -qy "$@"
}

# has_component COMMAND COMPONENT: whether cargo has a command that is a component of the toolchain.
has_component() {
  has_cargo "$1" && return
  $may_install && has rustup && rustup component add "$2" && return
  skip "cargo $1" "rustup component add $2, or the package $2 of the distribution"
  return 1
}

# The programs with which tests cause faults, speak TLS and act as proxies, or bring nats-server from PyPI.
# A test without its program says that it was skipped.
tools_for_tests() {
  step 'tools for tests'
  local missing=() tool
  for tool in strace ip:iproute2 stunnel4 logrotate systemd-analyze:systemd haproxy ncat openssl python3 sslscan; do
    has "${tool%:*}" || missing+=("${tool#*:}")
  done
  python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
  if [ ${#missing[@]} -gt 0 ] && ! install_packages "${missing[@]}"; then
    skip "tests with ${missing[*]}" "apt-get install ${missing[*]}"
  fi
  has promtool || unpack_promtool || skip 'tests with promtool' 'apt-get install prometheus, which starts a service'
}

# Unpacks promtool instead of installing it: its package would start a service.
unpack_promtool() {
  $may_install || return 1
  (cd "$work" && apt-get download -q prometheus && dpkg -x prometheus_*.deb .) || return 1
  PATH=$PATH:$work/usr/bin
}
