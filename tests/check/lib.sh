# SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
# Sourced by the checks: they run at the root of the checkout, say ok, FAIL or skip a line, and end
# with the count that the runner reads.

cd "$(dirname "$0")/../.." || exit 2
passed=0 failed=0 skipped=0

ok() {
	passed=$((passed + 1))
	echo "ok $*"
}

fail() {
	failed=$((failed + 1))
	echo "FAIL $*"
}

skip() {
	skipped=$((skipped + 1))
	echo "skip $*"
}

# expect_nothing SENTENCE LINES: the lines are those that break the rule.
expect_nothing() {
	if [ -z "$2" ]; then
		ok "$1"
	else
		fail "$1:"
		printf '%s\n' "$2" | sed 's/^/    /'
	fi
}

# What the project consists of: tracked files, or all where this is no checkout.
files() {
	if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
		git ls-files -- "$@"
	else
		for pattern in "${@:-*}"; do
			find . -name "$pattern" -type f ! -path './build/*' | sed 's|^\./||'
		done
	fi
}

finish() {
	echo "$passed passed, $failed failed, $skipped skipped"
	[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
	exit
}
