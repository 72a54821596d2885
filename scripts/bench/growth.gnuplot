# SPDX-License-Identifier: GPL-2.0-only
#
# gnuplot -e "figures='FILE'; plot='FILE'" growth.gnuplot - how the figures grow with
# the size, without and with the series. The colours are legible on white and on black,
# which scripts/bench/themes.sed gives the plot to choose from.
set terminal svg size 900,640 font "sans,12" background "white"
set output plot
set linetype 1 linecolor rgb "#c0504d"
set linetype 2 linecolor rgb "#2e86c1"
set linetype 3 linecolor rgb "#1e9e6a"
set multiplot layout 2,2 title "Guest instructions per 4 KiB page, mainline (dashed) and with the series"
set logscale xy
set xtics ("1 MiB" 2**20, "16 MiB" 2**24, "256 MiB" 2**28, "1 GiB" 2**30, "4 GiB" 2**32, "16 GiB" 2.0**34) font ",9"
set xrange [2**20:2.0**34]
set format y "10^{%T}"
set yrange [0.005:5000]
set key bottom left font ",9"
set grid
sizes(kernel, mode, work, memory) = sprintf("<awk '$1==\"%s\" && $2==\"%s\" && $3==\"%s\" && $4==\"%s\" && ($6==1 || $5 > 268435456 && $6 == $5 / ($4==\"1G\" ? 1073741824 : 268435456)) { print $5, $7 }' %s", kernel, mode, work, memory, figures)

do for [panel = 1:4] {
	mode = word("noiommu iommufd type1 smmu", panel)
	set title (panel == 1 ? "IOAS unmap without an IOMMU" : panel == 2 ? "IOAS unmap with VT-d" : panel == 3 ? "type1 unmap with VT-d" : "IOAS unmap with an SMMU")
	plot for [i = 1:3] sizes("mainline", mode, "unmap", word("4K 2M 1G", i)) with linespoints dashtype 2 linetype i pointtype 6 notitle, \
	     for [i = 1:3] sizes("series", mode, "unmap", word("4K 2M 1G", i)) with linespoints linetype i pointtype 7 title "pages of ".word("4K 2M 1G", i)."iB"
}
unset multiplot
