# SPDX-License-Identifier: GPL-2.0-only
#
# What scripts/test-pipeline.sh ends with: where the logs of failed tests are, and one
# line that counts results. A test that was killed, that stopped short of its plan, or
# that failed without a result that says so, is a failed result of its own.

package Verdict;

use strict;
use warnings;
use parent 'TAP::Formatter::File';

sub summary
{
	my ($self, $all, $interrupted) = @_;
	my @parsers = map { [$_, $all->parsers($_)] } $all->descriptions;
	my @bad = grep { $_->[1]->has_problems } @parsers;
	my $failed = $all->failed + grep { !$_->[1]->failed } @bad;
	my $skipped = $all->skipped + grep { $_->[1]->skip_all } @parsers;

	$self->SUPER::summary($all, $interrupted);
	print "log: $ENV{PERL_TEST_HARNESS_DUMP_TAP}/$_->[0]\n" for @bad;
	printf "%d passed, %d failed, %d skipped\n", $all->passed - $all->skipped, $failed, $skipped;
}

1;
