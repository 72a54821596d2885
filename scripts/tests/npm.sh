# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# For tests that take a tool or a schema from an npm package. Source this before
# project.sh, which moves the folders of the user.

TOOLS=${XDG_CACHE_HOME:-$HOME/.cache}/vfio-noiommu/npm
export npm_config_userconfig=${npm_config_userconfig:-$HOME/.npmrc}

# package NAME VERSION SHA256: its files in $SCRATCH/NAME, by way of the cache
package()
{
	local file=$1-$2.tgz

	mkdir -p "$TOOLS"
	if ! printf '%s  %s\n' "$3" "$TOOLS/$file" | sha256sum --status -c 2> /dev/null; then
		npm pack --silent --cache "$SCRATCH/npm" --pack-destination "$TOOLS" "$1@$2" &&
			printf '%s  %s\n' "$3" "$TOOLS/$file" | sha256sum -c || return
	fi
	mkdir -p "$SCRATCH/$1"
	tar -xzf "$TOOLS/$file" -C "$SCRATCH/$1" --strip-components=1
}
