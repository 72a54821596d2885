# SPDX-License-Identifier: GPL-2.0-only
#
# A plot of gnuplot's svg terminal in the colours that its reader has chosen: dark on
# light, or light on dark. The background is its own, so it is legible on any page.
/<defs>/i\
<style>\
	.paper { fill: #ffffff }\
	.ink { fill: #1a1a1a }\
	.line { stroke: #1a1a1a }\
	.edge { color: #1a1a1a }\
	@media (prefers-color-scheme: dark) {\
		.paper { fill: #161616 }\
		.ink { fill: #e6e6e6 }\
		.line { stroke: #e6e6e6 }\
		.edge { color: #e6e6e6 }\
	}\
</style>
s/fill="#ffffff"/class="paper"/
s/fill="black"/class="ink"/g
s/stroke="black"/class="line"/g
s/ color="black" stroke="currentColor"/ class="edge" stroke="currentColor"/
