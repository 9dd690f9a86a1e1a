# Checks of the built programs and their packages. Sourced by .ci/run.
# shellcheck shell=bash disable=SC2154

# Uses the programs that the tests have built. Without Python or HAProxy it reports what is skipped.
stream_under_faults() {
  step 'a stream under injected faults'
  cargo build --locked -p server -p client
  cargo run --locked -p torture -- -stream -short
}

# Installs the Debian package on this machine, and purges it.
packages() {
  step packages
  if ! $may_install || ! is_root || ! has dpkg-deb || ! has rustup; then
    skip packages '.ci/run --install, as root on Debian with rustup: the package is installed and purged'
    return 0
  fi
  install_packages adduser binutils lintian man-db musl-tools || echo 'not installed: tools for packages'
  if ! has musl-gcc; then
    skip packages 'apt-get install musl-tools'
    return 0
  fi
  cargo xtask dist
  packaging/test-deb target/dist/*.deb
  if unshare --pid --fork true; then
    packaging/test-archive target/dist
  else
    skip 'the archive as process 1' 'a machine that permits unshare --pid'
  fi
}

main_job() {
  step 'the main job'
  run_all main
  step 'the main job over TLS'
  run_all tls -tls
}

# run_all NAME OPTION...: one server and five clients, and a check of the whole log.
run_all() {
  local log=$work/$1.log
  shift
  cargo xtask run-all "$@" --clients 5 -port 0 -log "$log" >"$work/output"
  tail -n 12 "$work/output"
  .ci/check-log "$log" 5 5 10
}
