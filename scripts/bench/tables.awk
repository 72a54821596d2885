# SPDX-License-Identifier: GPL-2.0-only
#
# tables.awk FIGURES PAGE - print the page with its tables made again: each is
# between the comments ".. begin: NAME" and ".. end: NAME"
#
# A line of FIGURES: KERNEL MODE WORK MEMORY BYTES AREAS VALUE
#
# KERNEL is a series, which stands for it and all below, or a version of the kernel
# without any, which only the tables that compare kernels have. -v names these, in
# "others".

BEGIN {
	split("noiommu-cdev iova-extents", kernels, " ")
	num_all = split(others " noiommu-cdev iova-extents", all, " ")
	for (i = 1; i <= num_all; i++)
		all_heads = all_heads (i > 1 ? "|" : "") \
			(all[i] ~ /^[0-9]/ ? "Linux " : "") all[i]
	KIB = 1024
	MIB = 1024 * KIB
	GIB = 1024 * MIB
}

FNR == NR {
	value[$1, $2, $3, $4, $5, $6] = $7
	next
}

/^\.\. begin: / {
	print
	print ""
	if ($3 == "summary")
		summary_table()
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
	skip = 1
	next
}

/^\.\. end: / {
	print ""
	skip = 0
}

!skip { print }

# Not every awk writes a large number with all of its digits
function digits(number)
{
	return sprintf("%.0f", number)
}

# A figure as text: three digits that count
function text(kernel, mode, work, memory, bytes, areas,	v)
{
	bytes = digits(bytes)
	if (!((kernel, mode, work, memory, bytes, areas) in value))
		return "n/a"
	v = value[kernel, mode, work, memory, bytes, areas]
	if (v !~ /^[0-9]/)
		return v
	if (v >= 100)
		return sprintf("%.0f", v)
	if (v >= 10)
		return sprintf("%.1f", v)
	if (v >= 1)
		return sprintf("%.2f", v)
	return sprintf("%.3f", v)
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
function row(first, cells,	n, i, cell, line)
{
	line = sprintf("%-46s", first)
	n = split(cells, cell, "|")
	for (i = 1; i <= n; i++)
		line = line sprintf("  %-14s", cell[i])
	sub(/ +$/, "", line)
	print line
}

function head(first, cells,	n, cell)
{
	n = split(cells, cell, "|")
	rule(n)
	row(first, cells)
	rule(n)
}

function compare(first, goal, mode, work, memory, bytes, areas,	i, cells)
{
	for (i = 1; i <= num_all; i++)
		cells = cells text(all[i], mode, work, memory, bytes, areas) "|"
	row(first, cells (goal ? goal : "\\"))
}

function summary_table()
{
	head("Guest instructions per 4 KiB page", all_heads "|goal")
	compare("GET_PA, 256 MiB of 2 MiB pages, many calls", "4", "noiommu", "get_pa", "2M", 256 * MIB, 1)
	compare("GET_PA, 256 MiB of 2 MiB pages, array", "1", "noiommu", "get_pa_array", "2M", 256 * MIB, 1)
	compare("/proc/self/pagemap, 256 MiB of 2 MiB pages", "", "iommufd", "pagemap", "2M", 256 * MIB, 1)
	compare("GET_PA, 16 MiB of 4 KiB pages, many calls", "", "noiommu", "get_pa", "4K", 16 * MIB, 1)
	compare("GET_PA, 16 MiB of 4 KiB pages, array", "40", "noiommu", "get_pa_array", "4K", 16 * MIB, 1)
	compare("/proc/self/pagemap, 256 MiB of 4 KiB pages", "", "iommufd", "pagemap", "4K", 256 * MIB, 1)
	compare("GET_PA of one page", "no worse", "noiommu", "get_pa_of_a_page", "4K", 16 * MIB, 1)
	compare("IOAS map, 256 MiB of 2 MiB pages", "no worse", "noiommu", "map", "2M", 256 * MIB, 1)
	compare("IOAS map, 16 MiB of 4 KiB pages", "", "noiommu", "map", "4K", 16 * MIB, 1)
	compare("IOAS unmap, 256 MiB of 2 MiB pages", "10", "noiommu", "unmap", "2M", 256 * MIB, 1)
	compare("IOAS unmap, 16 MiB of 4 KiB pages, first time", "350", "noiommu", "unmap_first", "4K", 16 * MIB, 1)
	compare("IOAS unmap, 16 MiB of 4 KiB pages, again", "", "noiommu", "unmap", "4K", 16 * MIB, 1)
	compare("VT-d, IOAS map, 256 MiB of 2 MiB pages", "", "iommufd", "map", "2M", 256 * MIB, 1)
	compare("VT-d, IOAS unmap, 256 MiB of 2 MiB pages", "", "iommufd", "unmap", "2M", 256 * MIB, 1)
	compare("VT-d, IOAS unmap, 16 MiB of 4 KiB pages", "", "iommufd", "unmap_first", "4K", 16 * MIB, 1)
	compare("VT-d, type1 map, 256 MiB of 2 MiB pages", "", "type1", "map", "2M", 256 * MIB, 1)
	compare("VT-d, type1 unmap, 256 MiB of 2 MiB pages", "", "type1", "unmap", "2M", 256 * MIB, 1)
	compare("VT-d, type1 unmap, 16 MiB of 4 KiB pages", "", "type1", "unmap_first", "4K", 16 * MIB, 1)
	rule(num_all + 1)
}

function forms_table(	i, heads, array, single, n)
{
	for (i = 1; i <= num_all; i++)
		if ((all[i], "array", "array_form", "4K", digits(MIB), 1) in value) {
			n++
			heads = heads (n > 1 ? "|" : "") (all[i] ~ /^[0-9]/ ? "Linux " : "") all[i]
			array = array (n > 1 ? "|" : "") text(all[i], "array", "array_form", "4K", MIB, 1)
			single = single (n > 1 ? "|" : "") text(all[i], "array", "single_form", "4K", MIB, 1)
		}
	head("GET_PA", heads)
	row("Array form", array)
	row("Single form", single)
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

function growth_of(first, kernel, mode, work,	n, sizes, names, i, j, cells)
{
	n = split("4K 2M 1G", names, " ")
	split("1 16 256 1024 4096 16384", sizes, " ")
	for (i = 1; i <= n; i++) {
		cells = ""
		for (j = 1; j in sizes; j++)
			cells = cells (j > 1 ? "|" : "") text(kernel, mode, work, names[i], sizes[j] * MIB, pieces(names[i], sizes[j] * MIB))
		row(first ", " pages(names[i]), cells)
	}
}

function growth_table(	i)
{
	head("Guest instructions per 4 KiB page", "1 MiB|16 MiB|256 MiB|1 GiB|4 GiB|16 GiB")
	for (i = 1; i in kernels; i++) {
		growth_of(kernels[i] ": map", kernels[i], "noiommu", "map")
		growth_of(kernels[i] ": GET_PA, many calls", kernels[i], "noiommu", "get_pa")
		if (kernels[i] == "iova-extents")
			growth_of(kernels[i] ": GET_PA, array", kernels[i], "noiommu", "get_pa_array")
		growth_of(kernels[i] ": unmap", kernels[i], "noiommu", "unmap")
		growth_of(kernels[i] ": VT-d, IOAS unmap", kernels[i], "iommufd", "unmap")
		growth_of(kernels[i] ": VT-d, type1 unmap", kernels[i], "type1", "unmap")
	}
	rule(6)
}

function areas_of(first, kernel, work)
{
	row(first, text(kernel, "noiommu", work, "4K", 16 * MIB, 1) "|" \
	    text(kernel, "noiommu", work, "4K", 16 * MIB, 16) "|" \
	    text(kernel, "noiommu", work, "4K", 16 * MIB, 256) "|" \
	    text(kernel, "noiommu", work, "4K", 16 * MIB, 4096))
}

function areas_table(	i)
{
	head("16 MiB of 4 KiB pages, instructions per page", "1 area|16 areas|256 areas|4096 areas")
	for (i = 1; i in kernels; i++) {
		areas_of(kernels[i] ": map", kernels[i], "map")
		areas_of(kernels[i] ": GET_PA, many calls", kernels[i], "get_pa")
		if (kernels[i] == "iova-extents")
			areas_of(kernels[i] ": GET_PA, array", kernels[i], "get_pa_array")
		areas_of(kernels[i] ": unmap", kernels[i], "unmap")
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
				cells = cells (j > 1 ? "|" : "") kib("iova-extents", modes[m], names[i], sizes[j] * MIB)
			row((m == 1 ? "No IOMMU" : "VT-d") ", " pages(names[i]), cells)
		}
	rule(6)
}

function kib(kernel, mode, memory, bytes,	areas)
{
	areas = pieces(memory, bytes)
	bytes = digits(bytes)
	if (!((kernel, mode, "table_bytes", memory, bytes, areas) in value))
		return "n/a"
	return value[kernel, mode, "table_bytes", memory, bytes, areas] / KIB
}

function wait_table()
{
	head("Instructions", "noiommu-cdev|iova-extents")
	row("GET_PA of 16 MiB in entries of 4 KiB", waited("look_up_instructions", 16 * MIB))
	row("Longest map, nobody looks up", waited("wait_instructions", 0))
	row("Longest map while 16 GiB are looked up", waited("wait_instructions", 16 * GIB))
	row("How many maps meanwhile", waited("wait_times", 16 * GIB))
	rule(2)
}

function waited(work, bytes,	i, cells)
{
	for (i = 1; i in kernels; i++)
		cells = cells (cells == "" ? "" : "|") text(kernels[i], "wait", work, "1G", bytes, 1)
	return cells
}
