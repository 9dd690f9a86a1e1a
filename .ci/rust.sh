# Checks of the source. Sourced by .ci/run.
# shellcheck shell=bash disable=SC2154

formatting() {
  step formatting
  has_component fmt rustfmt || return 0
  cargo fmt --all --check
  cargo fmt --manifest-path fuzz/Cargo.toml --check
}

scripts() {
  step scripts
  if has shellcheck || install_packages shellcheck; then
    shellcheck --external-sources .ci/run .ci/check-log packaging/test-archive packaging/test-deb fuzz/run
  else
    skip shellcheck 'apt-get install shellcheck'
  fi
}

clippy() {
  step clippy
  has_component clippy clippy || return 0
  cargo clippy --workspace --all-targets --locked -- -D warnings
}

unit_tests() {
  step 'unit tests'
  cargo test --workspace --locked --quiet --lib --bins
}

# `tests` contains it.
imports() {
  step imports
  cargo test --locked --quiet -p xtask --test imports
}

without_tls() {
  step 'without TLS'
  cargo clippy --locked --all-targets -p server -p client --no-default-features -- -D warnings
  cargo test --locked -p server -p client --no-default-features --lib --bins
}

# The programs only, which must compile; the benchmark and the fault injection are for Linux. Without TLS: its
# library contains C code, for which there is no cross compiler here.
other_systems() {
  local target
  for target in aarch64-apple-darwin x86_64-unknown-freebsd; do
    step "$target"
    if ! has rustup; then
      skip "$target" 'a toolchain of rustup'
    elif rustup target list --installed | grep -x "$target" >/dev/null || { $may_install && rustup target add "$target"; }; then
      cargo check --locked --target "$target" -p server -p client -p launcher -p xtask --no-default-features
    else
      skip "$target" "rustup target add $target"
    fi
  done
}

# Everything but tests, with the version that Cargo.toml promises.
oldest_rust() {
  local version
  version=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
  step "Rust $version"
  if has_toolchain "$version" || { $may_install && has rustup && rustup toolchain install "$version" --profile minimal; }; then
    cargo "+$version" check --workspace --locked
  else
    skip "Rust $version" "rustup toolchain install $version --profile minimal"
  fi
}

documentation() {
  step documentation
  RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked
}

# Licences, sources and known weaknesses of the dependencies: deny.toml.
dependencies() {
  step dependencies
  if ! has_cargo deny; then
    skip 'licences and advisories of dependencies' 'cargo install cargo-deny --locked'
    return 0
  fi
  cargo deny --locked check bans licenses sources
  if cargo deny fetch db; then
    cargo deny --locked check advisories
  else
    skip advisories 'a network that reaches the advisory database'
  fi
}

tests() {
  step tests
  cargo test --workspace --locked
}

# Each target for a minute. Whether they compile is checked without the fuzzer, too.
fuzzing() {
  step fuzzing
  cargo check --manifest-path fuzz/Cargo.toml --target-dir target --locked --no-default-features
  if has_cargo fuzz && has_toolchain nightly; then
    fuzz/run
  else
    skip fuzzing 'rustup toolchain install nightly, and cargo install cargo-fuzz --locked'
  fi
}
