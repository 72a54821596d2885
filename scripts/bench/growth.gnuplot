# SPDX-License-Identifier: GPL-2.0-only
#
# gnuplot -e "figures='FILE'; plot='FILE'" growth.gnuplot - how the figures grow
# with the size, before and after iova-extents
set terminal svg size 900,640 font "sans,12" background "white"
set output plot
set multiplot layout 2,2 title "Guest instructions per 4 KiB page, before (dashed) and after iova-extents"
set logscale xy
set xtics ("1 MiB" 2**20, "16 MiB" 2**24, "256 MiB" 2**28, "1 GiB" 2**30, "4 GiB" 2**32, "16 GiB" 2.0**34) font ",9"
set xrange [2**20:2.0**34]
set format y "10^{%T}"
set yrange [0.005:5000]
set key bottom left font ",9"
set grid
sizes(kernel, mode, work, memory) = sprintf("<awk '$1==\"%s\" && $2==\"%s\" && $3==\"%s\" && $4==\"%s\" && ($6==1 || $5 > 268435456 && $6 == $5 / ($4==\"1G\" ? 1073741824 : 268435456)) { print $5, $7 }' %s", kernel, mode, work, memory, figures)

do for [panel = 1:4] {
	mode = word("noiommu noiommu iommufd type1", panel)
	work = word("get_pa unmap unmap unmap", panel)
	after = panel == 1 ? "get_pa_array" : work
	before = "noiommu-cdev"
	set title (panel == 1 ? "GET\\_PA, after: array" : panel == 2 ? "unmap without an IOMMU" : panel == 3 ? "unmap with VT-d, iommufd" : "unmap with VT-d, type1")
	plot for [i = 1:3] sizes(before, mode, work, word("4K 2M 1G", i)) with linespoints dashtype 2 linecolor i pointtype 6 notitle, \
	     for [i = 1:3] sizes("iova-extents", mode, after, word("4K 2M 1G", i)) with linespoints linecolor i pointtype 7 title "pages of ".word("4K 2M 1G", i)."iB"
}
unset multiplot
