# A random model of what applications, administrators, receivers and crashes do, and whether what the extension promises
# holds: every committed change is delivered to each webhook that subscribed to it, and nothing else is; in order; once, but
# for crashes; and the log says so.
#
# A round is a server, some episodes of random operations from a seed, and a rest after each, when all is compared.
# MODEL_SECONDS is for how long rounds follow each other, MODEL_SEED the first one's seed. Seeds that once failed come first,
# for as long at most: they stand in test/model/seeds.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib", "$FindBin::RealBin/../t/lib";

use MIME::Base64 ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);
use WebhookModel::Check;
use WebhookModel::Operations;
use WebhookModel::Random;
use WebhookModel::World;
use WebhookTest;
use WebhookTest::Crash;

my $seconds = $ENV{MODEL_SECONDS} // 60;
my $episodes_max = $ENV{MODEL_EPISODES} // 8;
my $operations = 80;
my $first_seed = $ENV{MODEL_SEED} // int(rand(1 << 30));

# Each a seed and a number of episodes.
sub kept_seeds
{
	return map { /^(\d+)\s+(\d+)\b/ ? [ $1, $2 ] : () } split /\n/, slurp_file("$FindBin::RealBin/seeds");
}

my @log_lines = (
	crash_lines(),
	qr/was terminated by signal/,
	qr/FATAL:  terminating (?:connection|background worker)/,
	qr/WARNING:  (?:webhook: )?.*deliveries of webhook .* wait to be recorded since/,
	qr/WARNING:  (?:webhook: )?.*the oldest segment of webhook_(?:events|logs) is kept/,
	qr/WARNING:  (?:webhook: )?.*the filters of organization .* take too much time/,
	qr/ERROR:  (?:could not serialize access|event \d+ is not stored|the webhook of log row \d+ has been deleted)/,
	qr/ERROR:  current transaction is aborted/,
	qr/ERROR:  no webhook can be tested/);

# Runs a round until it fails or the time is up. Whether all held.
sub run_round
{
	my ($seed, $episode_count, $until) = @_;
	note("MODEL_SEED=$seed");
	my $world = WebhookModel::World->new($seed);
	WebhookModel::Operations::begin($world, WebhookModel::Random->new("$seed/begin"));
	my $episode = 0;
	while ($episode < $episode_count && !$world->violations && ($episode == 0 || time() < $until))
	{
		++$episode;
		my $begun = time();
		WebhookModel::Operations::run_episode($world, $episode, $operations);
		my $active = time();
		WebhookModel::Check::come_to_rest($world, WebhookModel::Random->new("$seed/$episode/rest"));
		my $rested = time();
		WebhookModel::Check::judge($world);
		is(join("\n", $world->violations), '', "seed $seed, episode $episode: what was promised holds");
		note(sprintf('%.1f s, %.1f s until rest, %.1f s to judge', $active - $begun, $rested - $active, time() - $rested));
	}
	is_log_clean($world->{node}, expected => \@log_lines);
	my $has_held = Test::More->builder->is_passing;
	diag("to run it again: MODEL_SEED=$seed MODEL_EPISODES=$episode dev/test model\n"
		  . "what was done: $world->{trace_file}, which WEBHOOK_TEST_LOGS keeps") unless $has_held;
	note("seed $seed: $world->{counted}{events} events, $world->{counted}{arrivals} requests, "
		  . @{ $world->{crashes} } . ' stops of a worker');
	$world->{node}->stop($has_held ? 'fast' : 'immediate');
	return $has_held;
}

my $until = time() + $seconds;
my $has_held = 1;
if (!defined $ENV{MODEL_SEED})
{
	foreach my $kept (kept_seeds())
	{
		$has_held &&= run_round(@$kept, $until) if time() < $until;
	}
	$until = time() + $seconds;
}
for (my $seed = $first_seed; $has_held && time() < $until; ++$seed)
{
	$has_held = run_round($seed, $episodes_max, $until);
}
done_testing();
