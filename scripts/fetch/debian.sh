# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# The Debian archives that apt is configured with; source lib/common.sh first. No host
# is named here: a mirror or a proxy that works for apt works for us.

# has_apt: is this a system that gets its packages from such an archive
has_apt()
{
	command -v apt-get > /dev/null && command -v dpkg > /dev/null
}

# archives: the roots of the Debian archives that apt knows. Its configuration
# may list others too; which ones are Debian's only the downloaded lists tell,
# so without lists each is tried. The hash decides in the end.
archives()
{
	# shellcheck disable=SC2016	# apt expands these
	local format='$(ORIGIN)|$(LABEL)|$(COMPONENT)|$(REPO_URI)' all

	all=$(apt-get indextargets --format "$format" | grep '^Debian|.*|main|') ||
		all=$(apt-get indextargets --no-release-info --format "$format")
	# The security archive comes last: it seldom has the tarball.
	awk -F'|' '{ print ($2 == "Debian" ? 0 : 1), $4 }' <<< "$all" |
		sort -u | cut -d' ' -f2-
}
