# SPDX-License-Identifier: GPL-2.0-only
#
# tables.awk FIGURES PAGE - print the page with its tables made again: each is
# between the comments ".. begin: NAME" and ".. end: NAME"
#
# A line of FIGURES: COLUMN MODE WORK MEMORY BYTES AREAS VALUE. -v columns names the
# kernels, the first of which the others are compared with, and -v version the kernel that
# they stand for or are made from.

BEGIN {
	num_columns = split(columns, column, " ")
	first = column[1]
	last = column[num_columns]
	for (i = 1; i <= num_columns; i++)
		heads = heads (i > 1 ? "|" : "") name(column[i])
	KIB = 1024
	MIB = 1024 * KIB
	GIB = 1024 * MIB
}

FNR == NR {
	value[$1, $2, $3, $4, $5, $6] = $7
	if ($1 == last && $2 != "trace" && is_cost($3))
		cost[++num_costs] = $2 " " $3 " " $4 " " $5 " " $6
	if ($2 == "trace" && !(($3, $4) in functions)) {
		functions[$3, $4]
		traced_bytes[$3] = $5
		function_of[$3, ++num_functions[$3]] = $4
	}
	next
}

/^\.\. begin: / {
	print
	print ""
	if ($3 == "summary")
		summary_table()
	else if ($3 == "slower")
		slower_table()
	else if ($3 == "growth")
		growth_table()
	else if ($3 == "areas")
		areas_table()
	else if ($3 == "memory")
		memory_table()
	else if ($3 == "forms")
		forms_table()
	else if ($3 == "wait")
		wait_table()
	else if ($3 == "lists")
		lists_table()
	else if ($3 == "calls")
		calls_table($4)
	else if ($3 == "trace")
		trace_table($4)
	skip = 1
	next
}

/^\.\. end: / {
	print ""
	skip = 0
}

!skip { print }

function name(of)
{
	return of == "mainline" ? "Linux " version : of
}

# Not every awk writes a large number with all of its digits
function digits(number)
{
	return sprintf("%.0f", number)
}

# A number: three digits that count
function number(v)
{
	if (v >= 100)
		return sprintf("%.0f", v)
	if (v >= 10)
		return sprintf("%.1f", v)
	if (v >= 1)
		return sprintf("%.2f", v)
	return sprintf("%.3f", v)
}

# A figure as text
function text(of, mode, work, memory, bytes, areas,	v)
{
	bytes = digits(bytes)
	if (!((of, mode, work, memory, bytes, areas) in value))
		return "n/a"
	v = value[of, mode, work, memory, bytes, areas]
	return v ~ /^[0-9]/ ? number(v) : v
}

# The ratio of the last column to the first
function ratio(mode, work, memory, bytes, areas,	b, a)
{
	bytes = digits(bytes)
	if (!((first, mode, work, memory, bytes, areas) in value) ||
	    !((last, mode, work, memory, bytes, areas) in value))
		return "\\"
	b = value[first, mode, work, memory, bytes, areas]
	a = value[last, mode, work, memory, bytes, areas]
	return b > 0 ? sprintf("%.3f", a / b) : "\\"
}

# rule N: above, below and between: a first column of 46, N of 14
function rule(n,	i, line)
{
	line = "=============================================="
	for (i = 0; i < n; i++)
		line = line "  =============="
	print line
}

# row FIRST CELLS: cells separated by |
function row(label, cells,	n, i, cell, line)
{
	line = sprintf("%-46s", label)
	n = split(cells, cell, "|")
	for (i = 1; i <= n; i++)
		line = line sprintf("  %-14s", cell[i])
	sub(/ +$/, "", line)
	print line
}

function head(label, cells,	n, cell)
{
	n = split(cells, cell, "|")
	rule(n)
	row(label, cells)
	rule(n)
}

# Each column, and the ratio
function compared(mode, work, memory, bytes, areas,	i, cells)
{
	for (i = 1; i <= num_columns; i++)
		cells = cells text(column[i], mode, work, memory, bytes, areas) "|"
	return cells ratio(mode, work, memory, bytes, areas)
}

function compare(label, goal, mode, work, memory, bytes, areas)
{
	row(label, compared(mode, work, memory, bytes, areas) "|" (goal ? goal : "\\"))
}

function summary_table()
{
	head("Guest instructions per 4 KiB page", heads "|ratio|goal")
	compare("GET_PA of one page", "905", "noiommu", "get_pa_of_a_page", "4K", 16 * MIB, 1)
	compare("GET_PA, 256 MiB of 2 MiB pages, many calls", "", "noiommu", "get_pa", "2M", 256 * MIB, 1)
	compare("GET_PA, 16 MiB of 4 KiB pages, many calls", "", "noiommu", "get_pa", "4K", 16 * MIB, 1)
	compare("GET_PA_ARRAY, 16 MiB of 4 KiB pages", "28", "noiommu", "get_pa_array", "4K", 16 * MIB, 1)
	compare("GET_PA_ARRAY, 256 MiB of 2 MiB pages", "0.13", "noiommu", "get_pa_array", "2M", 256 * MIB, 1)
	compare("GET_PA_ARRAY, 16 GiB of 1 GiB pages", "0.03", "noiommu", "get_pa_array", "1G", 16 * GIB, 16)
	compare("Page list, 16 MiB of 4 KiB pages", "", "noiommu", "get_pa_pages", "4K", 16 * MIB, 1)
	compare("Page list, 256 MiB of 2 MiB pages", "", "noiommu", "get_pa_pages", "2M", 256 * MIB, 1)
	compare("Page list, 128 KiB of 4 KiB pages a call", "", "noiommu", "get_pa_prps", "4K", 16 * MIB, 1)
	compare("Page list, 128 KiB of 2 MiB pages a call", "", "noiommu", "get_pa_prps", "2M", 256 * MIB, 1)
	compare("/proc/self/pagemap, 256 MiB of 2 MiB pages", "", "iommufd", "pagemap", "2M", 256 * MIB, 1)
	compare("/proc/self/pagemap, 256 MiB of 4 KiB pages", "", "iommufd", "pagemap", "4K", 256 * MIB, 1)
	compare("IOAS map, 16 MiB of 4 KiB pages", "320", "noiommu", "map", "4K", 16 * MIB, 1)
	compare("IOAS map, 4096 areas of one page", "", "noiommu", "map", "4K", 16 * MIB, 4096)
	compare("IOAS map, 256 MiB of 2 MiB pages", "29", "noiommu", "map", "2M", 256 * MIB, 1)
	compare("IOAS map of a file, 16 MiB of 4 KiB pages", "", "noiommu", "map", "4K-file", 16 * MIB, 1)
	compare("IOAS map of a file, 256 MiB of 2 MiB pages", "2", "noiommu", "map", "2M-file", 256 * MIB, 1)
	compare("IOAS unmap, 16 MiB of 4 KiB pages, first time", "175", "noiommu", "unmap_first", "4K", 16 * MIB, 1)
	compare("IOAS unmap, 16 MiB of 4 KiB pages, again", "140", "noiommu", "unmap", "4K", 16 * MIB, 1)
	compare("IOAS unmap, 4096 areas of one page", "3900", "noiommu", "unmap", "4K", 16 * MIB, 4096)
	compare("IOAS unmap, 256 MiB of 2 MiB pages", "10", "noiommu", "unmap", "2M", 256 * MIB, 1)
	compare("unpin_user_pages(), 256 MiB of 4 KiB pages", "", "gup", "unpin", "4K", 256 * MIB, 1)
	compare("unpin_user_pages(), 256 MiB of 2 MiB pages", "", "gup", "unpin", "2M", 256 * MIB, 1)
	compare("VT-d, IOAS map, 16 MiB of 4 KiB pages", "", "iommufd", "map", "4K", 16 * MIB, 1)
	compare("VT-d, IOAS map, 256 MiB of 2 MiB pages", "", "iommufd", "map", "2M", 256 * MIB, 1)
	compare("VT-d, IOAS unmap, 16 MiB of 4 KiB pages", "", "iommufd", "unmap_first", "4K", 16 * MIB, 1)
	compare("VT-d, IOAS unmap, 256 MiB of 2 MiB pages", "", "iommufd", "unmap", "2M", 256 * MIB, 1)
	compare("VT-d, type1 map, 256 MiB of 2 MiB pages", "", "type1", "map", "2M", 256 * MIB, 1)
	compare("VT-d, type1 unmap, 16 MiB of 4 KiB pages", "650", "type1", "unmap_first", "4K", 16 * MIB, 1)
	compare("VT-d, type1 unmap, 256 MiB of 2 MiB pages", "", "type1", "unmap", "2M", 256 * MIB, 1)
	compare("SMMU, IOAS map, 256 MiB of 2 MiB pages", "", "smmu", "map", "2M", 256 * MIB, 1)
	compare("SMMU, IOAS unmap, 256 MiB of 2 MiB pages", "1/100", "smmu", "unmap", "2M", 256 * MIB, 1)
	compare("SMMU, IOAS unmap, 16 MiB of 4 KiB pages", "", "smmu", "unmap_first", "4K", 16 * MIB, 1)
	compare("SMMU, type1 unmap, 256 MiB of 2 MiB pages", "1/100", "smmu-type1", "unmap", "2M", 256 * MIB, 1)
	compare("SMMU, type1 unmap, 16 MiB of 4 KiB pages", "", "smmu-type1", "unmap_first", "4K", 16 * MIB, 1)
	rule(num_columns + 2)
}

# Is it instructions per page?
function is_cost(work)
{
	return work ~ /^(map|unmap)(_first)?$/ || work ~ /^map_sg/ || work ~ /^(un)?pin$/ || work ~ /^get_pa/ && work != "get_pa_calls" || work == "pagemap"
}

function size(bytes)
{
	return bytes < MIB ? bytes / KIB " KiB" : bytes / MIB " MiB"
}

# All that was measured, not only what the other tables have, and takes longer
function slower_table(	i, f, n)
{
	head("Mode, work, pages, bytes, areas", heads "|ratio")
	for (i = 1; i <= num_costs; i++) {
		split(cost[i], f, " ")
		if (ratio(f[1], f[2], f[3], f[4], f[5]) + 0 <= 1)
			continue
		n++
		row(f[1] ", " f[2] ", " f[3] ", " size(f[4]) ", " f[5],
		    compared(f[1], f[2], f[3], f[4], f[5]))
	}
	if (!n)
		row("none", compared())
	rule(num_columns + 1)
}

function forms_table(	i, names, array, single, n)
{
	for (i = 1; i <= num_columns; i++)
		if ((column[i], "array", "array_form", "4K", digits(MIB), 1) in value) {
			n++
			names = names (n > 1 ? "|" : "") name(column[i])
			array = array (n > 1 ? "|" : "") text(column[i], "array", "array_form", "4K", MIB, 1)
			single = single (n > 1 ? "|" : "") text(column[i], "array", "single_form", "4K", MIB, 1)
		}
	head("ioctl", names)
	row("IOMMU_IOAS_NOIOMMU_GET_PA_ARRAY", array)
	row("IOMMU_IOAS_NOIOMMU_GET_PA", single)
	rule(n)
}

function pages(memory)
{
	sub(/[KMG]/, " &iB pages", memory)
	return memory
}

# How many areas the program makes of a size: the same memory again and again
function pieces(memory, bytes,	own)
{
	own = memory == "1G" ? GIB : 256 * MIB
	return bytes > own ? bytes / own : 1
}

# Rows without any figure are left out
function growth_of(label, of, mode, work,	n, sizes, names, i, j, cells)
{
	n = split("4K 2M 1G", names, " ")
	split("1 16 256 1024 4096 16384", sizes, " ")
	for (i = 1; i <= n; i++) {
		cells = ""
		for (j = 1; j in sizes; j++)
			cells = cells (j > 1 ? "|" : "") text(of, mode, work, names[i], sizes[j] * MIB, pieces(names[i], sizes[j] * MIB))
		if (cells ~ /[0-9]/)
			row(label ", " pages(names[i]), cells)
	}
}

function growth_table(	i, of)
{
	head("Guest instructions per 4 KiB page", "1 MiB|16 MiB|256 MiB|1 GiB|4 GiB|16 GiB")
	for (i = 1; i <= num_columns; i++) {
		of = column[i]
		growth_of(name(of) ": map", of, "noiommu", "map")
		growth_of(name(of) ": GET_PA", of, "noiommu", "get_pa")
		growth_of(name(of) ": GET_PA_ARRAY", of, "noiommu", "get_pa_array")
		growth_of(name(of) ": unmap", of, "noiommu", "unmap")
		growth_of(name(of) ": VT-d, unmap", of, "iommufd", "unmap")
		growth_of(name(of) ": type1 unmap", of, "type1", "unmap")
		growth_of(name(of) ": SMMU, unmap", of, "smmu", "unmap")
		growth_of(name(of) ": SMMU, type1 unmap", of, "smmu-type1", "unmap")
	}
	rule(6)
}

function areas_of(label, of, work,	cells)
{
	cells = text(of, "noiommu", work, "4K", 16 * MIB, 1) "|" \
	    text(of, "noiommu", work, "4K", 16 * MIB, 16) "|" \
	    text(of, "noiommu", work, "4K", 16 * MIB, 256) "|" \
	    text(of, "noiommu", work, "4K", 16 * MIB, 4096)
	if (cells ~ /[0-9]/)
		row(label, cells)
}

function areas_table(	i)
{
	head("16 MiB of 4 KiB pages, instructions per page", "1 area|16 areas|256 areas|4096 areas")
	for (i = 1; i <= num_columns; i++) {
		areas_of(name(column[i]) ": map", column[i], "map")
		areas_of(name(column[i]) ": GET_PA", column[i], "get_pa")
		areas_of(name(column[i]) ": GET_PA_ARRAY", column[i], "get_pa_array")
		areas_of(name(column[i]) ": unmap", column[i], "unmap")
	}
	rule(4)
}

function memory_table(	n, names, sizes, i, j, cells, modes, m)
{
	head("Page tables, KiB", "1 MiB|16 MiB|256 MiB|1 GiB|4 GiB|16 GiB")
	n = split("4K 2M 1G", names, " ")
	split("noiommu iommufd", modes, " ")
	split("1 16 256 1024 4096 16384", sizes, " ")
	for (m = 1; m <= 2; m++)
		for (i = 1; i <= n; i++) {
			cells = ""
			for (j = 1; j in sizes; j++)
				cells = cells (j > 1 ? "|" : "") kib(last, modes[m], names[i], sizes[j] * MIB)
			row((m == 1 ? "No IOMMU" : "VT-d") ", " pages(names[i]), cells)
		}
	rule(6)
}

function kib(of, mode, memory, bytes,	areas)
{
	areas = pieces(memory, bytes)
	bytes = digits(bytes)
	if (!((of, mode, "table_bytes", memory, bytes, areas) in value))
		return "n/a"
	return value[of, mode, "table_bytes", memory, bytes, areas] / KIB
}

function wait_table()
{
	head("Instructions", heads)
	row("GET_PA of 16 MiB in entries of 4 KiB", waited("look_up_instructions", 16 * MIB))
	row("Longest map, nobody looks up", waited("wait_instructions", 0))
	row("Longest map while 16 GiB are looked up", waited("wait_instructions", 16 * GIB))
	row("How many maps meanwhile", waited("wait_times", 16 * GIB))
	rule(num_columns)
}

# The number of calls, with each way to map
function calls_of(label, platform, work, window, bytes, areas,	i, n, ways, cells)
{
	n = split("container iommufd compat", ways, " ")
	for (i = 1; i <= n; i++)
		cells = cells (i > 1 ? "|" : "") called(platform, work, ways[i] "-" window, digits(bytes), areas)
	row(label, cells)
}

function called(platform, work, way, bytes, areas)
{
	if (!((last, platform, work, way, bytes, areas) in value))
		return "n/a"
	return value[last, platform, work, way, bytes, areas]
}

function calls_table(platform,	g, n, one, label, page, windows, groups, i)
{
	page = platform ~ /-4k$/ ? 4096 : 65536
	head("Calls on " platform, "container|iommufd|in its place")
	split("32 64", windows, " ")
	n = split("1 2 4", groups, " ")
	for (g = 1; g <= n; g++) {
		one = platform "-" groups[g]
		label = groups[g] > 1 ? groups[g] " groups: " : ""
		for (i = 1; i <= 2; i++) {
			calls_of(label "map 64 MiB, " windows[i] "-bit window", one, "map", windows[i], 64 * MIB, 1)
			calls_of(label "unmap 64 MiB", one, "unmap", windows[i], 64 * MIB, 1)
			calls_of(label "map scattered pages", one, "map_scattered", windows[i], 512 * page, 1)
			calls_of(label "unmap scattered pages", one, "unmap_scattered", windows[i], 512 * page, 1)
			calls_of(label "512 maps of a page", one, "map", windows[i], 512 * page, 512)
			calls_of(label "512 unmaps of a page", one, "unmap", windows[i], 512 * page, 512)
		}
		calls_of(label "open", one, "open", "both", 0, 0)
		calls_of(label "attach, 64 MiB in each window", one, "attach", "both", 128 * MIB, 2)
		calls_of(label "detach, 64 MiB in each window", one, "detach", "both", 128 * MIB, 2)
		calls_of(label "close", one, "close", "both", 0, 0)
	}
	rule(3)
}

function lists_table()
{
	head("dma_map_sg(), instructions per page", heads "|ratio")
	lists_of("VT-d", "dma")
	lists_of("SMMU", "smmu-dma")
	rule(num_columns + 1)
}

function lists_of(label, mode)
{
	row(label ", a page", compared(mode, "map_sg", "4K", 4 * KIB, 1))
	row(label ", 16 scattered pages", compared(mode, "map_sg", "4K", 64 * KIB, 1))
	row(label ", 256 scattered pages", compared(mode, "map_sg", "4K", MIB, 1))
	row(label ", 256 adjacent pages", compared(mode, "map_sg_adjacent", "4K", MIB, 1))
}

function waited(work, bytes,	i, cells)
{
	for (i = 1; i <= num_columns; i++)
		cells = cells (i > 1 ? "|" : "") text(column[i], "wait", work, "1G", bytes, 1)
	return cells
}

# Of each kernel, unless nothing of it was traced
function totals(of, seen,	j, cells)
{
	for (j = 1; j <= num_columns; j++)
		cells = cells (j > 1 ? "|" : "") (seen[j] ? number(of[j] + 0) : "n/a")
	return cells
}

# The functions that take the most of one call, per page
function trace_table(work,	i, j, n, f, v, most, bytes, cells, sum, rest, seen, is_call)
{
	bytes = traced_bytes[work]
	is_call = bytes == 4 * KIB
	head("Function", heads)
	n = num_functions[work]
	for (i = 1; i <= n; i++)
		for (j = 1; j <= num_columns; j++)
			seen[j] += (column[j], "trace", work, function_of[work, i], bytes, 1) in value
	for (i = 1; i <= n; i++) {
		f = function_of[work, i]
		most = 0
		cells = ""
		for (j = 1; j <= num_columns; j++) {
			v = value[column[j], "trace", work, f, bytes, 1] + 0
			sum[j] += v
			if (v > most)
				most = v
			cells = cells (j > 1 ? "|" : "") (seen[j] ? number(v) : "n/a")
		}
		if (most >= (work == "map_file" ? 100 : is_call ? 10 : 2)) {
			row(f, cells)
			continue
		}
		for (j = 1; j <= num_columns; j++)
			rest[j] += value[column[j], "trace", work, f, bytes, 1]
	}
	row("others", totals(rest, seen))
	row("sum", totals(sum, seen))
	rule(num_columns)
}
