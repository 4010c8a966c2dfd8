# 20 workers killed and 5 immediate stops while 50,000 events go to 20 webhooks: nothing is lost, and repeats are few
# and bear the same webhook-id.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use List::Util qw(shuffle);
use Test::More;
use Time::HiRes qw(sleep);
use WebhookTest;
use WebhookTest::Crash;

my ($session_count, $transaction_count, $rows_each, $webhook_count) = (4, 500, 25, 20);
my $events_total = $session_count * $transaction_count * $rows_each;
my $in_flight_max = 32;
my $batch_max = 256;    # results that the worker records at once

my $seed = $ENV{WEBHOOK_TEST_SEED} // int(rand(1 << 30));
srand($seed);
note("WEBHOOK_TEST_SEED=$seed");

my $receiver = start_receiver();
my $node = new_node('webhook.max_in_flight' => $in_flight_max);
query($node, qq{
	CREATE TABLE items (id bigint PRIMARY KEY, session int, number int, organization_id text);
	CREATE INDEX ON items (session, number);
	SELECT webhook_watch('items', 'item.created');
	CREATE PROCEDURE write(s int) LANGUAGE plpgsql AS \$\$
	DECLARE
		n int := (SELECT coalesce(max(number), 0) FROM items WHERE session = s);
	BEGIN
		WHILE n < $transaction_count LOOP
			n := n + 1;
			INSERT INTO items SELECT s * 100000 + n * $rows_each + i, s, n, 'o' || (i + n) % $webhook_count
			  FROM generate_series(0, $rows_each - 1) AS i;
			IF n % 5 = 0 THEN
				BEGIN
					INSERT INTO items VALUES (-s * 100000 - n, s, 0, 'o1');
					PERFORM webhook_flush();
					RAISE EXCEPTION 'rolled back';
				EXCEPTION WHEN raise_exception THEN NULL;
				END;
			END IF;
			COMMIT;
			IF n % 7 = 0 THEN
				INSERT INTO items VALUES (-s * 100000 - n, s, 0, 'o2');
				PERFORM webhook_flush();
				ROLLBACK;
			END IF;
			PERFORM pg_sleep(0.01);
		END LOOP;
	END \$\$;
});
create_webhook($node, url => $receiver->url("/ok?w=$_"), events => ['item.*'], organization_id => "o$_")
  foreach 0 .. $webhook_count - 1;

my @crashes = shuffle((\&kill_worker) x 20, (\&crash_server) x 5);
my $cut_off = 0;
my $between = int($events_total / (@crashes + 1));
foreach my $n (1 .. @crashes)
{
	my @sessions = map { start_session($node, "CALL write($_)") } 1 .. $session_count;
	# By what has arrived; the first half also by what is written, for a worker may be slower than the sessions.
	wait_until
	{
		$receiver->count >= $n * $between
		  || ($n <= @crashes / 2 && query($node, 'SELECT count(*) FROM items') >= $n * $between)
	}
	"the moment of crash $n";
	sleep(rand(0.1));
	$crashes[ $n - 1 ]->($node);
	$_->finish || ++$cut_off foreach @sessions;
}
cmp_ok($cut_off, '>', 0, "crashes ended sessions while they wrote ($cut_off times)");
my @last = map { start_session($node, "CALL write($_)") } 1 .. $session_count;
is(scalar(grep { $_->finish } @last), $session_count, 'the sessions come to their end');

my @committed = split /\n/, query($node, 'SELECT id FROM items');
is(scalar @committed, $events_total, "$events_total rows have committed");
eventually { query($node, q{SELECT count(*) FROM webhook_logs WHERE status = 'success'}) >= $events_total }
'every delivery comes to be logged as a success';

my @rows = received_rows($receiver);
my @received = map { $_->[1] } @rows;
is(missing(\@committed, \@received), '', 'every committed event has arrived');
is(missing(\@received, \@committed), '', 'and nothing else');
my $pairs = tally(map { "$_->[1] $_->[0]" } @rows);
is(scalar(keys %$pairs), $events_total, 'repeats bear the same webhook-id');
is(scalar(keys %{ tally(map { $_->[0] } @rows) }), $events_total, 'which no other event bears');
# While a batch is written, what was in flight comes back and is not recorded yet either.
my $repeats_max = @crashes * (2 * $in_flight_max + $batch_max);
cmp_ok(@rows - $events_total, '<=', $repeats_max, "no more was repeated than $repeats_max");
note(@rows - $events_total, ' were repeated');
is(query($node, q{SELECT count(*), count(DISTINCT event_id) FROM webhook_logs WHERE status = 'success'}),
	"$events_total|$events_total", 'each success is logged once');
is(query($node, 'SELECT count(*) FROM webhook_deliveries'), 0, 'and nothing is pending');
is_log_clean($node, expected => [crash_lines()]);
$node->stop;

done_testing();
